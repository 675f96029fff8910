"""Drawing on a picture: each face's box, its label, and a bar for every class's probability."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fer_cli.labels import EXPRESSIONS
from fer_cli.prediction.outcomes import Prediction

#: A colour an expression, Okabe & Ito's palette, which the colour-blind can tell apart.
COLOURS = dict(
    zip(
        EXPRESSIONS,
        ("#999999", "#d55e00", "#cc79a7", "#009e73", "#56b4e9", "#f0e442", "#0072b2", "#e69f00"),
        strict=True,
    )
)
OTHER = "#ffffff"
#: The panel's shade, over which both light and dark pictures leave its words readable.
SHADE = (0, 0, 0, 170)


def drawn(pixels: np.ndarray, predictions: Sequence[Prediction]) -> np.ndarray:
    """H×W×3 uint8 RGB ``pixels`` with the predictions drawn on them; the input is left as it is."""
    picture = Image.fromarray(pixels)
    height, width = pixels.shape[:2]
    size = max(11, round(min(height, width) / 40))
    canvas = ImageDraw.Draw(picture, "RGBA")
    # The largest face comes last, and on top.
    for prediction in reversed(predictions):
        _draw(canvas, prediction, (width, height), size)
    return np.asarray(picture)


def colour(label: str) -> str:
    """The colour of an expression."""
    return COLOURS.get(label, OTHER)


def _draw(canvas: ImageDraw.ImageDraw, prediction: Prediction, picture: tuple[int, int], size: int) -> None:
    width, height = picture
    x, y, across, down = prediction.face.box if prediction.face is not None else (0, 0, width - 1, height - 1)
    line = max(2, size // 8)
    canvas.rectangle((x, y, x + across, y + down), outline=colour(prediction.label), width=line)
    font = ImageFont.load_default(size)
    small = ImageFont.load_default(max(9, round(size * 0.75)))
    title = f"{prediction.label} {prediction.confidence:.0%}"
    left, _, right, _ = canvas.textbbox((0, 0), title, font=font)
    names = max(canvas.textlength(name, font=small) for name in prediction.probabilities)
    bars, step, rim = 5 * size, round(size * 0.95), max(3, size // 4)
    panel_width = max(right - left, names + 2 * rim + bars) + 2 * rim
    panel_height = round(size * 1.4) + step * len(prediction.probabilities) + rim
    # Beside the face where there is room, else inside its picture's edge.
    panel_x = x + across + line if x + across + line + panel_width <= width else x - line - panel_width
    panel_x = min(max(0, panel_x), max(0, width - panel_width))
    panel_y = min(max(0, y), max(0, height - panel_height))
    canvas.rectangle((panel_x, panel_y, panel_x + panel_width, panel_y + panel_height), fill=SHADE)
    canvas.text((panel_x + rim, panel_y + rim / 2), title, fill="white", font=font)
    top = panel_y + round(size * 1.4)
    for number, (name, share) in enumerate(prediction.probabilities.items()):
        level = top + number * step
        canvas.text((panel_x + rim, level), name, fill="white", font=small)
        begin = panel_x + 3 * rim + names
        canvas.rectangle((begin, level + step * 0.2, begin + bars * share, level + step * 0.8), fill=colour(name))
