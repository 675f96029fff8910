"""The packaged model: a run folder that comes with fer."""

from pathlib import Path

#: The name by which a command takes the packaged model in the place of a run's folder.
NAME = "faces"
FOLDER = Path(__file__).parent / NAME


def packaged_model() -> Path | None:
    """The folder of the packaged model; None where fer comes without one."""
    return FOLDER if (FOLDER / "run.json").is_file() else None
