"""The README's picture: the report of ``fer demo`` in a browser, and test subjects with their predictions.

    fer demo
    python benchmarks/picture.py demo docs/demo.png

Chromium takes the picture of the page; ``fer predict --annotate`` draws on the faces, which YuNet finds (FER_YUNET).
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from fer_cli.runs.run import Run

#: The size of a picture of a face, how many there are, the space between them, and the page's width, in pixels.
FACE, COUNT, GAP, WIDTH = (304, 236), 4, 12, 880
HEIGHT = COUNT * (FACE[1] + GAP) - GAP
#: The part of a drawn frame of 640×490 that shows the head, and the label to the right of it.
HEAD = (150, 20, 600, 369)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def page(report: Path, folder: Path) -> Image.Image:
    """The top of the report, in the light theme."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit("No browser here (Debian: apt-get install chromium).")
    shot = folder / "page.png"
    options = ("--headless", "--no-sandbox", "--hide-scrollbars", "--blink-settings=preferredColorScheme=1")
    size = f"--window-size={WIDTH},{HEIGHT}"
    subprocess.run(
        [browser, *options, size, f"--screenshot={shot}", report.resolve().as_uri()], check=True, capture_output=True
    )
    return Image.open(shot).convert("RGB").crop((0, 0, WIDTH, HEIGHT))


def faces(demo: Path, folder: Path) -> list[Image.Image]:
    """The last frame of another expression of each test subject, with the predicted probabilities."""
    run = demo / "runs" / "difference"
    drawn = []
    for place, subject in enumerate(Run.open(run).card["subjects"]["test"][:COUNT]):
        sequences = sorted((demo / "corpus" / "cohn-kanade-images" / subject).iterdir())
        frames = sorted(sequences[(2 * place) % len(sequences)].iterdir())
        words = (frames[-1], "--neutral", frames[0], "--run", run, "--annotate", folder / subject)
        subprocess.run([sys.executable, "-m", "fer_cli", "predict", *words], check=True, capture_output=True)
        drawn += [Image.open(path).convert("RGB") for path in (folder / subject).iterdir()]
    return drawn


def picture(demo: Path) -> Image.Image:
    """The page, and a column of faces to the right of it."""
    whole = Image.new("RGB", (WIDTH + GAP + FACE[0], HEIGHT), "white")
    with tempfile.TemporaryDirectory() as name:
        whole.paste(page(demo / "runs" / "difference" / "evaluation" / "report.html", Path(name)))
        for place, tile in enumerate(faces(demo, Path(name))):
            whole.paste(tile.crop(HEAD).resize(FACE, Image.Resampling.LANCZOS), (WIDTH + GAP, place * (FACE[1] + GAP)))
    return whole


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    # 256 colours of its own are enough for a page and drawn faces, and a third of the bytes.
    picture(Path(sys.argv[1])).quantize(256, kmeans=8, dither=Image.Dither.NONE).save(sys.argv[2], optimize=True)
