"""The crops that the model saw, as files."""

from io import BytesIO
from pathlib import Path

from PIL import Image

from fer_cli.files import write_bytes
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
                encoded = BytesIO()
                Image.fromarray(prediction.crop).save(encoded, format="PNG", compress_level=3)
                write_bytes(self._folder / name, encoded.getvalue())
