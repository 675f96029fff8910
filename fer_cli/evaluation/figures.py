"""How figures become files."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from fer_cli.files import written_whole


def save(figure: Figure, folder: Path, stem: str, formats: Sequence[str] = ("png", "svg")) -> None:
    """Write a figure into ``folder`` as ``stem.png`` and ``stem.svg``, the same file for the same figure.

    An SVG's words stay words, which can be searched and read aloud.
    """
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    for format in formats:
        with (
            written_whole(folder / f"{stem}.{format}") as beside,
            rc_context({"svg.fonttype": "none", "svg.hashsalt": "fer"}),
        ):
            figure.savefig(beside, format=format, metadata={"Date": None} if format == "svg" else None)
        # Laid out once, it stays so.
        figure.set_layout_engine("none")
