"""The crops that the model saw, as files."""

from pathlib import Path

from PIL import Image

from fer_cli.files import written_whole
from fer_cli.prediction.outcomes import Outcome
from fer_cli.prediction.safe_names import safe_name
from fer_cli.prediction.writers import said


class Crops:
    """Writes each face's crop into ``folder`` as a PNG named for its picture."""

    def __init__(self, folder: Path):
        self._folder = folder

    def write(self, outcome: Outcome) -> None:
        """Write the crops."""
        for prediction in outcome.predictions:
            with said(self._folder):
                self._folder.mkdir(parents=True, exist_ok=True)
                name = safe_name(outcome.shot, face=prediction.number, ending=".png")
                with written_whole(self._folder / name) as beside:
                    Image.fromarray(prediction.crop).save(beside, format="PNG", compress_level=3)
