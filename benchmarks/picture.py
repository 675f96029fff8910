"""The README's picture: the report of ``fer demo`` in a browser, and a test subject's faces with their predictions.

    fer demo
    python benchmarks/picture.py demo docs/demo.png

Chromium takes the picture of the page. Faces are drawn on by ``fer predict --annotate``.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from fer_cli.cli.demo import held_out_faces

#: The size of the page in the picture, and of a face, in pixels.
PAGE, FACE = (880, 830), 200
COLUMNS, GAP = 2, 12
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def page(report: Path, folder: Path) -> Image.Image:
    """The top of the report, in the light theme."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit("No browser here (Debian: apt-get install chromium).")
    shot = folder / "page.png"
    options = ("--headless", "--no-sandbox", "--hide-scrollbars", "--blink-settings=preferredColorScheme=1")
    size = f"--window-size={PAGE[0]},{PAGE[1]}"
    subprocess.run(
        [browser, *options, size, f"--screenshot={shot}", report.resolve().as_uri()], check=True, capture_output=True
    )
    return Image.open(shot).convert("RGB").crop((0, 0, *PAGE))


def faces(demo: Path, folder: Path) -> list[Image.Image]:
    """The last frame of each expression of a test subject, with its predicted probabilities."""
    pictures, neutral = held_out_faces(demo / "runs" / "difference", demo / "data" / "synthetic")
    last: dict[str, Path] = {}
    for path in sorted(pictures.iterdir()):
        last[path.stem.rsplit("_", 1)[0]] = path
    drawn = folder / "drawn"
    words = ("--neutral", neutral, "--run", demo / "runs" / "difference", "--detector", "none", "--annotate", drawn)
    subprocess.run(
        [sys.executable, "-m", "fer_cli", "predict", *last.values(), *words], check=True, capture_output=True
    )
    return [Image.open(path).convert("RGB") for path in sorted(drawn.iterdir())]


def picture(demo: Path) -> Image.Image:
    """The page, and columns of faces to the right of it."""
    with tempfile.TemporaryDirectory() as name:
        left = page(demo / "runs" / "difference" / "evaluation" / "report.html", Path(name))
        tiles = faces(demo, Path(name))[: COLUMNS * ((PAGE[1] + GAP) // (FACE + GAP))]
        whole = Image.new("RGB", (PAGE[0] + COLUMNS * (FACE + GAP), PAGE[1]), "white")
        whole.paste(left)
        for place, tile in enumerate(tiles):
            row, column = divmod(place, COLUMNS)
            tile = tile.resize((FACE, FACE), Image.Resampling.LANCZOS)
            whole.paste(tile, (PAGE[0] + GAP + column * (FACE + GAP), row * (FACE + GAP)))
    return whole


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    # 256 colours of its own are enough for a page and drawn faces, and a third of the bytes.
    picture(Path(sys.argv[1])).quantize(256, kmeans=8, dither=Image.Dither.NONE).save(sys.argv[2], optimize=True)
