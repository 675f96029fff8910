"""Sources of frames: inputs by the names that a person types, and the frames of each."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, ClassVar, cast

from fer_cli.errors import MissingLibraryError, PictureError
from fer_cli.extras import LIBRARIES
from fer_cli.faces.decode import MAX_BYTES, MAX_PIXELS
from fer_cli.faces.formats import VIDEO_HEAD, begins_as_video, is_picture, is_video, why_unread
from fer_cli.faces.video import Every, sampled_frames
from fer_cli.files import open_regular
from fer_cli.prediction.listing import Address, to_path
from fer_cli.prediction.results import Frame
from fer_cli.prediction.sources.remote import MAX_VIDEO_BYTES, fetch
from fer_cli.prediction.sources.shards import Place, Shard, is_shard, open_shard

NO_FRAMES = "a video without frames"
NEEDS_PYAV = f"a video, which needs PyAV (type: {LIBRARIES['av'].install})"


@dataclass(frozen=True, slots=True)
class Input:
    """A picture, a video or a camera to predict on, of the source at position ``source``.

    It is small, can be pickled, and can be opened in any process whose :func:`open_sources` was given the same names:
    by :meth:`Source.frames` of the source at its position. ``path`` is its name; where ``shard`` names the tar, Parquet
    or Arrow file that it is in, it is read from its ``place`` there. ``subject`` is the person shown, where a list or a
    table says so. ``problem`` is why there is nothing to open.
    """

    path: Path
    subject: str | None = None
    problem: str | None = None
    source: int = 0
    shard: str | None = None
    place: Place | None = None

    @property
    def is_file(self) -> bool:
        """Whether ``path`` is a file of this disk, if it is anything, and not a name of something else."""
        return self.shard is None and not isinstance(self.path, Address)


@dataclass(frozen=True, slots=True)
class Reading:
    """How sources are read: the frames of videos, the largest picture, and folders that are not entered."""

    every: Every = Every()  # noqa: RUF009
    max_pixels: int = MAX_PIXELS
    exclude: Collection[Path] = ()


class Source(ABC):
    """Inputs by a name that a person types, and the frames of each.

    ``replayable`` says whether :meth:`inputs` may be called again, and gives the same. The frames of
    ``live`` sources exist only while they are read, until Ctrl-C.
    """

    replayable: ClassVar[bool] = True
    live: ClassVar[bool] = False
    #: The shard that was read last, which stays open.
    _shard: tuple[str, Shard] | None = None

    def __init__(self, name: str, reading: Reading):
        self.name, self.reading = name, reading

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "_shard"}

    @classmethod
    @abstractmethod
    def opens(cls, name: str) -> bool:
        """Whether ``name`` is one of this kind."""

    @abstractmethod
    def inputs(self) -> Iterator[Input]:
        """The inputs, in order, as they are found."""

    def frames(self, index: int, given: Input) -> Iterator[Frame]:
        """The frames of input number ``index``: one of a picture, those sampled of a video.

        An input that cannot be opened has one frame with a problem.
        """
        origin = None if given.is_file else given
        frame = Frame(index, given.path, given.subject, problem=given.problem, origin=origin)
        # What a name says is no picture that is read need not be fetched.
        if given.problem is None and origin is not None and (problem := why_unread(given.path)):
            frame = replace(frame, problem=problem)
        if frame.problem is not None:
            yield frame
            return
        number, problem = None, None
        try:
            opened = self.open(given)
            with nullcontext() if isinstance(opened, Path) else closing(opened):
                if not holds_video(given.path, opened):
                    yield frame if isinstance(opened, Path) else replace(frame, data=_read(opened))
                    return
                for number, seconds, pixels in sampled_frames(
                    opened, self.reading.every, max_pixels=self.reading.max_pixels
                ):
                    yield replace(frame, pixels=pixels, number=number, time=seconds)
        except MissingLibraryError:
            problem = NEEDS_PYAV
        except PictureError as error:
            problem = error.message
            if number is None and not is_video(given.path):
                yield replace(frame, problem=problem)
                return
        problem = problem or (NO_FRAMES if number is None else None)
        yield replace(frame, problem=problem, end=True)

    def open(self, given: Input) -> Path | IO[bytes]:
        """The path of an input that is a file of this disk, else a copy of its bytes, to be read and closed.

        Raises :class:`~fer_cli.errors.PictureError`, with a few words, if it cannot be read whole.
        """
        if given.shard is not None:
            if self._shard is None or self._shard[0] != given.shard:
                self._shard = given.shard, open_shard(to_path(given.shard))
            return self._shard[1].open(cast(Place, given.place), given.path.name)
        if isinstance(given.path, Address):
            return fetch(given.path, limit=MAX_BYTES if is_picture(given.path) else MAX_VIDEO_BYTES)
        return given.path


def holds_video(path: Path, opened: Path | IO[bytes]) -> bool:
    """Whether it is a video, by its name, or where that does not tell by its first bytes."""
    if path.suffix and isinstance(opened, Path):
        return is_video(path)
    if is_video(path) or is_picture(path):
        return is_video(path)
    try:
        with open_regular(path) if isinstance(opened, Path) else nullcontext(opened) as file:
            return begins_as_video(file.read(VIDEO_HEAD))
    except (OSError, ValueError):
        return False


def _read(file: IO[bytes]) -> bytes:
    file.seek(0)
    data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise PictureError(f"larger than {MAX_BYTES // 1_000_000} MB")
    return data


def contents(path: Path, subject: str | None = None) -> Iterator[Input]:
    """The input at a path or an address, or the inputs that a shard there holds.

    A shard that cannot be opened, breaks off or has no pictures is an input with a problem.
    """
    if not is_shard(path):
        yield Input(path, subject)
        return
    shard, count = str(path), 0
    try:
        for entry in open_shard(path).entries():
            count += 1
            within = None if entry.place is None else shard
            name = to_path(f"{shard}{entry.name}")
            yield Input(name, entry.subject or subject, entry.problem, shard=within, place=entry.place)
    except PictureError as error:
        yield Input(path, subject, error.message)
        return
    if not count:
        yield Input(path, subject, "a shard without a picture or video")
