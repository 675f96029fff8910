"""The contact sheet of a people store: a row a person, with the neutral and the most telling pictures; and a page's."""

from collections.abc import Sequence
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fer_cli.errors import FerError, UsageError
from fer_cli.files import as_text
from fer_cli.labels import EXPRESSIONS, NEUTRAL
from fer_cli.prediction.people.finder import CACHED, PROFILE_NAME
from fer_cli.prediction.people.store import NEUTRALS, PeopleStore, Person, Picture

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
            found = next((each for each in free if columns[each] == picture.label), None)
            if found is None:
                continue
            place = found
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


def _cut(canvas: ImageDraw.ImageDraw, name: str, font: Any) -> str:
    """The name, cut to the room that it has; without what cannot be drawn in one line."""
    text = "".join(letter if letter.isprintable() else " " for letter in as_text(name))[:NAMES]
    while canvas.textlength(text, font=font) > NAMES - 2 * GAP:
        text = f"{text.removesuffix('…')[:-1]}…"
    return text


def decode_crop(crop: bytes) -> Image.Image | None:
    """The picture that a store keeps, None where the bytes are no such picture."""
    try:
        picture = Image.open(BytesIO(crop), formats=["JPEG"])
        return picture.convert("RGB") if max(picture.size) <= MAX_SIDE else None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _thumbnail(crop: bytes) -> Image.Image:
    """The stored crop, or a blank where the bytes are no such picture."""
    picture = decode_crop(crop)
    if picture is None:
        return Image.new("RGB", (SIDE, SIDE), BLANK)
    return picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


class ProfilePictures:
    """The stored picture that stands for a person's neutral profile on a page: the most neutral one, as it is then.

    ``folder`` is the store's, which is opened when the first picture is asked for.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._store: PeopleStore | None = None
        self._roots: dict[int, int] = {}
        self._pictures = lru_cache(CACHED)(self._read)

    def __call__(self, neutral: str, own: str) -> np.ndarray | None:
        """The pixels, H×W×3 uint8 RGB, of the face that rows call ``neutral``, but not the picture ``own`` itself.

        None where it is no profile of a store, or the person was forgotten meanwhile.
        """
        if (named := PROFILE_NAME.fullmatch(neutral)) is None:
            return None
        try:
            found = self._pictures(int(named[1]))
        except FerError:
            # The page is worth more than a picture on it.
            return None
        return next((pixels for name, pixels in found if name != own and pixels is not None), None)

    def _read(self, number: int) -> list[tuple[str, np.ndarray | None]]:
        if self._store is None:
            self._store = PeopleStore.open(self._folder)
            self._roots = self._store.roots()
        root = self._roots.get(number)
        parts = [part for part, above in self._roots.items() if above == root is not None]
        found = [(picture.name, decode_crop(picture.crop)) for picture in self._store.pictures(parts, NEUTRAL)]
        return [(name, None if picture is None else np.asarray(picture)) for name, picture in found]
