"""Pictures of results: annotated pictures and videos, aligned crops, links by expression."""

import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fer_cli.errors import PictureError
from fer_cli.faces.decode import decode
from fer_cli.faces.formats import FORMATS, is_picture
from fer_cli.faces.video import VideoSink, frames_of
from fer_cli.files import as_text, write_bytes
from fer_cli.labels import EXPRESSIONS
from fer_cli.prediction.results import FacePrediction, Frame, FrameResult, crop_of
from fer_cli.prediction.sinks import Sink, write_errors

#: A colour for each expression, Okabe & Ito's palette, which the colour-blind can tell apart.
COLOURS = dict(
    zip(
        EXPRESSIONS,
        ("#999999", "#d55e00", "#cc79a7", "#009e73", "#56b4e9", "#f0e442", "#0072b2", "#e69f00"),
        strict=True,
    )
)
OTHER = "#ffffff"
#: The panel's colour, on which text is readable over light and dark pictures.
SHADE = (0, 0, 0, 170)
JPEG_QUALITY = 90
#: An input's name is cut to this many characters, and a link's to this many bytes: most disks take 255 bytes.
STEM_LENGTH, NAME_BYTES = 80, 255


class FolderSink(Sink):
    """A sink that writes files into ``folder``, which is made with the first."""

    immediate = True

    def __init__(self, folder: Path):
        self.folder = folder

    def save(self, frame: Frame, picture: Image.Image, ending: str, face: int | None = None, **settings: Any) -> None:
        """Write a picture named for its frame and face, encoded by the ``ending`` of its name."""
        encoded = BytesIO()
        picture.save(encoded, format=Image.registered_extensions()[ending], **settings)
        with write_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            write_bytes(self.folder / safe_name(frame, face=face, ending=ending), encoded.getvalue())


#: Opens the file that a frame is of: its path, or a copy of bytes that are no file of this disk.
Reopen = Callable[[Frame], Path | IO[bytes]]


def _path(frame: Frame) -> Path:
    return frame.path


class AnnotatedPictures(FolderSink):
    """A JPEG of each picture, and an MP4 without sound of each video, with boxes, labels and probabilities.

    A video keeps all its frames; those between two sampled ones show the faces of the first.
    """

    def __init__(self, folder: Path, *, max_pixels: int, reopen: Reopen = _path):
        super().__init__(folder)
        self._max_pixels, self._reopen = max_pixels, reopen
        self._video: _AnnotatedVideo | None = None
        self._lost: int | None = None

    def write(self, result: FrameResult) -> None:
        """Draw the faces."""
        frame = result.frame
        if frame.number is None and not frame.end:
            self._picture(result)
            return
        with write_errors(self.folder):
            if frame.end:
                if self._video is not None:
                    self._video.close()
                self._video = None
                return
            if self._video is None:
                if self._lost == frame.index:
                    return
                try:
                    opened = self._reopen(frame)
                except PictureError:
                    # Read a moment ago, and not to be had a second time.
                    self._lost = frame.index
                    return
                self.folder.mkdir(parents=True, exist_ok=True)
                name = safe_name(Frame(frame.index, frame.path), ending=".mp4")
                self._video = _AnnotatedVideo(opened, self.folder / name, self._max_pixels)
            self._video.draw(frame.number or 0, result.faces)

    def _picture(self, result: FrameResult) -> None:
        if not result.faces:
            return
        try:
            # Decoded once more: the pixels of all frames under way would take far more memory than this takes time.
            opened = self._reopen(result.frame)
            pixels = decode(opened if isinstance(opened, Path) else _bytes(opened), max_pixels=self._max_pixels)
        except PictureError:
            return
        self.save(result.frame, Image.fromarray(annotate(pixels, result.faces)), ".jpg", quality=JPEG_QUALITY)


class _AnnotatedVideo:
    """A video that is decoded again along with its results, drawn on, and encoded."""

    def __init__(self, path: Path | IO[bytes], target: Path, max_pixels: int):
        self._frames: Iterator[tuple[int, Any, np.ndarray]] = frames_of(path, max_pixels=max_pixels)
        self._sink = VideoSink(path, target)
        self._faces: tuple[FacePrediction, ...] = ()
        self._next: tuple[int, Any, np.ndarray] | None = None

    def draw(self, number: int, faces: tuple[FacePrediction, ...]) -> None:
        self._forward(number)
        self._faces = faces

    def close(self) -> None:
        self._forward(None)
        self._sink.close()

    def _forward(self, until: int | None) -> None:
        """Write the frames before ``until`` with the latest faces."""
        while True:
            if self._next is None:
                try:
                    self._next = next(self._frames, None)
                except PictureError:
                    # It breaks off here; what came before is drawn.
                    self._next = None
            if self._next is None or (until is not None and self._next[0] >= until):
                return
            _, time, pixels = self._next
            self._sink.write(annotate(pixels, self._faces), time)
            self._next = None


class FaceCrops(FolderSink):
    """A PNG of each face's crop."""

    def write(self, result: FrameResult) -> None:
        """Write the crops."""
        for face in result.faces:
            self.save(result.frame, Image.fromarray(crop_of(face)), ".png", face=face.number, compress_level=3)


class SortedLinks(FolderSink):
    """Links to each picture in ``folder``/<expression>, under its own name; one for each expression of its faces.

    A link is symbolic where the disk can, else hard, else a copy. Nothing is overwritten: a second picture of the same
    name gets a number. What is no file of this disk, in a tar or at an address, is copied, under its input's number and
    name. Frames of videos are not files, and are ignored.
    """

    def __init__(self, folder: Path, *, reopen: Reopen = _path):
        super().__init__(folder)
        self._reopen = reopen

    def write(self, result: FrameResult) -> None:
        """Link the picture."""
        if result.frame.number is not None:
            return
        if not result.faces:
            return
        try:
            opened = self._reopen(result.frame)
        except PictureError:
            return
        content = None if isinstance(opened, Path) else _bytes(opened)
        for label in sorted({face.label for face in result.faces}):
            with write_errors(self.folder):
                (self.folder / label).mkdir(parents=True, exist_ok=True)
                if content is None:
                    _link_into(self.folder / label, result.frame.path)
                else:
                    write_bytes(self.folder / label / _copy_name(result.frame, content), content)


def _bytes(opened: IO[bytes]) -> bytes:
    with opened:
        return opened.read()


def _copy_name(frame: Frame, content: bytes) -> str:
    """A safe name with the ending of the picture's own, or of its format where it has none."""
    ending = frame.path.suffix.lower()
    if not is_picture(Path(f"x{ending}")):
        try:
            with Image.open(BytesIO(content), formats=FORMATS) as picture:
                ending = f".{(picture.format or '').lower()}"
        except (OSError, ValueError, Image.DecompressionBombError):
            ending = ""
    return safe_name(frame, ending=ending)


def _link_into(folder: Path, path: Path) -> None:
    for number in count(1):
        place = folder / (path.name if number == 1 else _numbered(path, number))
        try:
            _link(path, place)
            return
        except FileExistsError:
            if _same(path, place):
                return


def _numbered(path: Path, number: int) -> str:
    stem, tail = path.stem, f"-{number}{path.suffix}"
    while len(os.fsencode(stem + tail)) > NAME_BYTES and stem:
        stem = stem[:-1]
    return stem + tail


def _link(path: Path, place: Path) -> None:
    ways: tuple[Callable[[], None], ...] = (lambda: place.symlink_to(path.absolute()), lambda: os.link(path, place))
    for make in ways:
        try:
            make()
            return
        except FileExistsError:
            raise
        except OSError:
            continue
    with path.open("rb") as source, place.open("xb") as target:
        try:
            shutil.copyfileobj(source, target)
            target.flush()
        except OSError:
            place.unlink()
            raise
    shutil.copystat(path, place)


def _same(path: Path, place: Path) -> bool:
    """Whether ``place`` is already this very picture: a prediction that is resumed may link one twice."""
    try:
        if place.samefile(path):
            return True
        one, other = path.stat(), place.stat()
    except OSError:
        return False
    return (one.st_size, one.st_mtime) == (other.st_size, other.st_mtime)


def safe_name(frame: Frame, *, face: int | None = None, ending: str) -> str:
    """A name that no other frame or face of the same prediction has: the input's number, its name, frame and face.

    What is not a letter, a digit, a dot, a dash or an underscore becomes an underscore.

    >>> safe_name(Frame(7, Path("albums/my face.jpg")), face=0, ending=".png")
    '000007-my_face-0.png'
    """
    parts = [f"{frame.index:06d}", re.sub(r"[^\w.-]", "_", frame.path.stem, flags=re.ASCII)[:STEM_LENGTH]]
    if frame.number is not None:
        parts.append(f"f{frame.number:06d}")
    if face is not None:
        parts.append(str(face))
    return "-".join(parts) + ending


def annotate(pixels: np.ndarray, faces: Sequence[FacePrediction]) -> np.ndarray:
    """H×W×3 uint8 RGB ``pixels`` with each face's box, person or track, label and a bar for every class.

    The input is unchanged.
    """
    picture = Image.fromarray(pixels)
    height, width = pixels.shape[:2]
    size = max(11, round(min(height, width) / 40))
    canvas = ImageDraw.Draw(picture, "RGBA")
    # The largest face comes last, and on top.
    for face in reversed(faces):
        _annotate_face(canvas, face, (width, height), size)
    return np.asarray(picture)


def colour(label: str) -> str:
    """The colour of an expression."""
    return COLOURS.get(label, OTHER)


def _annotate_face(canvas: ImageDraw.ImageDraw, face: FacePrediction, picture: tuple[int, int], size: int) -> None:
    width, height = picture
    x, y, across, down = face.box or (0, 0, width - 1, height - 1)
    line = max(2, size // 8)
    canvas.rectangle((x, y, x + across, y + down), outline=colour(face.label), width=line)
    font = ImageFont.load_default(size)
    small = ImageFont.load_default(max(9, round(size * 0.75)))
    who = face.person or ("" if face.track is None else f"#{face.track}")
    title = f"{as_text(who)} {face.label} {face.confidence:.0%}".lstrip()
    left, _, right, _ = canvas.textbbox((0, 0), title, font=font)
    names = max(canvas.textlength(name, font=small) for name in face.probabilities)
    bars, step, rim = 5 * size, round(size * 0.95), max(3, size // 4)
    panel_width = max(right - left, names + 2 * rim + bars) + 2 * rim
    panel_height = round(size * 1.4) + step * len(face.probabilities) + rim
    # Next to the face where there is room, else inside its picture's edge.
    panel_x = x + across + line if x + across + line + panel_width <= width else x - line - panel_width
    panel_x = min(max(0, panel_x), max(0, width - panel_width))
    panel_y = min(max(0, y), max(0, height - panel_height))
    canvas.rectangle((panel_x, panel_y, panel_x + panel_width, panel_y + panel_height), fill=SHADE)
    canvas.text((panel_x + rim, panel_y + rim / 2), title, fill="white", font=font)
    top = panel_y + round(size * 1.4)
    for number, (name, share) in enumerate(face.probabilities.items()):
        level = top + number * step
        canvas.text((panel_x + rim, level), name, fill="white", font=small)
        begin = panel_x + 3 * rim + names
        canvas.rectangle((begin, level + step * 0.2, begin + bars * share, level + step * 0.8), fill=colour(name))
