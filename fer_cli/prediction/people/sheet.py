"""The contact sheet of a people store: a row a person, with the neutral and the most telling pictures of each."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from fer_cli.errors import UsageError
from fer_cli.files import as_text
from fer_cli.labels import EXPRESSIONS, NEUTRAL
from fer_cli.prediction.people.store import NEUTRALS, Person, Picture

#: The side of a picture, the gap next to it, the room for a line of text, and the width of the names, in pixels.
SIDE, GAP, LINE, NAMES = 112, 8, 18, 190
#: The largest side of a stored crop that is drawn; a store writes much smaller ones.
MAX_SIDE = 512
#: The most people of a sheet: a picture of more lines is too high for most viewers.
MOST = 200
PAPER, INK, FAINT, BLANK = "#ffffff", "#1a1a1a", "#666666", "#dddddd"


def contact_sheet(people: Sequence[tuple[Person, Sequence[Picture]]]) -> Image.Image:
    """A picture with a row for each person: name, counts, up to five neutral pictures, one of each other expression."""
    met = {picture.label for _, pictures in people for picture in pictures} - {NEUTRAL}
    others = sorted(met, key=lambda label: (label not in EXPRESSIONS, label))
    columns = [NEUTRAL] * max([1, *(_count_neutral(pictures) for _, pictures in people)]) + others
    step, height = SIDE + GAP, SIDE + LINE + 2 * GAP
    sheet = Image.new("RGB", (NAMES + step * len(columns) + GAP, 2 * GAP + LINE + height * len(people)), PAPER)
    canvas = ImageDraw.Draw(sheet)
    bold, small = ImageFont.load_default(16), ImageFont.load_default(13)
    for place, label in enumerate(columns):
        if place == 0 or label != NEUTRAL:
            canvas.text((NAMES + step * place, GAP), label, fill=INK, font=bold)
    for row, (person, pictures) in enumerate(people):
        top = 2 * GAP + LINE + height * row
        canvas.line((GAP, top - GAP // 2, sheet.width - GAP, top - GAP // 2), fill=BLANK)
        canvas.text((GAP, top + GAP), _cut(canvas, person.name or person.id, bold), fill=INK, font=bold)
        lines = [person.id] if person.name else []
        lines += [f"{person.faces} face{'s' * (person.faces != 1)}", f"{person.first_seen} to {person.last_seen}"]
        canvas.multiline_text((GAP, top + GAP + 22), "\n".join(lines), fill=FAINT, font=small)
        free = list(range(len(columns)))
        for picture in pictures:
            place = next((each for each in free if columns[each] == picture.label), None)
            if place is None:
                continue
            free.remove(place)
            left = NAMES + step * place
            sheet.paste(_thumbnail(picture.crop), (left, top))
            caption = f"{picture.score:.0%}" if picture.probability else ""
            canvas.text((left, top + SIDE + 1), caption, fill=FAINT, font=small)
    return sheet


def encoded(sheet: Image.Image, path: Path) -> bytes:
    """The bytes of a sheet as the ending of ``path`` says.

    Raises :class:`~fer_cli.errors.UsageError` for an ending that is no picture's.
    """
    kind = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}.get(path.suffix.lower())
    if kind is None:
        raise UsageError(f"--out {path}: its ending names no picture.", hint="End it in .png or .jpg.")
    written = BytesIO()
    sheet.save(written, kind)
    return written.getvalue()


def _count_neutral(pictures: Sequence[Picture]) -> int:
    return min(NEUTRALS, sum(picture.label == NEUTRAL for picture in pictures))


def _cut(canvas: ImageDraw.ImageDraw, name: str, font: ImageFont.ImageFont) -> str:
    """The name, cut to the room that it has; without what cannot be drawn in one line."""
    text = "".join(letter if letter.isprintable() else " " for letter in as_text(name))[:NAMES]
    while canvas.textlength(text, font=font) > NAMES - 2 * GAP:
        text = f"{text.removesuffix('…')[:-1]}…"
    return text


def _thumbnail(crop: bytes) -> Image.Image:
    """The stored crop, or a blank where the bytes are no such picture."""
    try:
        picture = Image.open(BytesIO(crop), formats=["JPEG"])
        if max(picture.size) <= MAX_SIDE:
            return picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        pass
    return Image.new("RGB", (SIDE, SIDE), BLANK)
