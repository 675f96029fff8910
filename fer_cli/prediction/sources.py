"""Sources of frames: pictures, videos, folders, patterns, lists, names on standard input, a camera.

A source is one subclass of :class:`Source` in :data:`SOURCES`.
"""

import glob
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import cv2

from fer_cli.errors import FerError, PictureError
from fer_cli.faces.decode import MAX_PIXELS, begins_as_picture
from fer_cli.faces.formats import is_picture, is_video
from fer_cli.faces.video import Every, sampled_frames
from fer_cli.files import walk
from fer_cli.prediction.listing import TABLE, TEXT, matching, names_in, read_list, standard_input
from fer_cli.prediction.results import Frame, FrameResult

STANDARD_INPUT, CAMERA = "-", "camera:"
NO_FRAMES = "a video without frames"


@dataclass(frozen=True, slots=True)
class Input:
    """A picture, a video or a camera to predict on, of the source at position ``source``.

    ``subject`` is the person shown, where a list says so. ``problem`` is why there is nothing to open at ``path``.
    """

    path: Path
    subject: str | None = None
    problem: str | None = None
    source: int = 0


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

    def __init__(self, name: str, reading: Reading):
        self.name, self.reading = name, reading

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
        if given.problem is not None or not is_video(given.path):
            yield Frame(index, given.path, given.subject, problem=given.problem)
            return
        number, problem = None, None
        try:
            for number, seconds, pixels in sampled_frames(
                given.path, self.reading.every, max_pixels=self.reading.max_pixels
            ):
                yield Frame(index, given.path, given.subject, pixels, number, seconds)
        except PictureError as error:
            problem = error.message
        problem = problem or (NO_FRAMES if number is None else None)
        yield Frame(index, given.path, given.subject, problem=problem, end=True)


class StandardInput(Source):
    """Paths on standard input, each read as soon as it is written."""

    replayable = False

    @classmethod
    def opens(cls, name: str) -> bool:
        """Whether it is a dash."""
        return name == STANDARD_INPUT

    def inputs(self) -> Iterator[Input]:
        """One input for each name."""
        return (Input(Path(name)) for name in names_in(standard_input()))


class Camera(Source):
    """A camera by its number, counted from 0: ``camera:0``."""

    replayable, live = False, True

    @classmethod
    def opens(cls, name: str) -> bool:
        """Whether it is ``camera:`` and a number."""
        return name.startswith(CAMERA) and name.removeprefix(CAMERA).isdecimal()

    def inputs(self) -> Iterator[Input]:
        """The camera."""
        yield Input(Path(self.name.replace(":", "-")))

    def frames(self, index: int, given: Input) -> Iterator[Frame]:
        """The frames, until the camera ends or the iterator is closed.

        Raises :class:`~fer_cli.errors.FerError` if there is no such camera.
        """
        # OpenCV would write its own account of what it tried to standard error.
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        number = int(self.name.removeprefix(CAMERA))
        camera = cv2.VideoCapture(number)
        try:
            if not camera.isOpened():
                raise FerError(
                    f"--camera {number}: there is no camera of this number here, or another program uses it.",
                    hint="Cameras are counted from 0; a video file can be given by its name.",
                )
            begun, last, count = time.monotonic(), None, -1
            while camera.grab():
                count += 1
                now = time.monotonic() - begun
                if (step := self.reading.every.step(count, now)) == last:
                    continue
                last = step
                read, pixels = camera.retrieve()
                if read:
                    yield Frame(index, given.path, None, cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), count, now)
            yield Frame(index, given.path, end=True)
        finally:
            camera.release()


class Folder(Source):
    """A folder's pictures and videos at every depth, by name.

    A file is a picture if its name or its first bytes say so. Hidden files and folders are ignored; links are followed,
    and each folder is entered once however many links lead there.
    """

    @classmethod
    def opens(cls, name: str) -> bool:
        """Whether it is a folder."""
        return Path(name).is_dir()

    def inputs(self) -> Iterator[Input]:
        """Its files; a folder inside that cannot be read is an input with a problem."""
        return _or_problem(self._files(), self.name, "a folder without a picture or video")

    def _files(self) -> Iterator[Input]:
        closed: list[OSError] = []
        for parent, files in walk(Path(self.name), excluded=self.reading.exclude, on_error=closed.append):
            for path in (parent / name for name in files):
                # A pipe, a socket or a device is an input that cannot be read, not one to ignore.
                special = path.exists() and not path.is_file()
                if is_video(path) or is_picture(path) or begins_as_picture(path) or special:
                    yield Input(path)
        for error in closed:
            yield Input(Path(error.filename), problem=f"a folder that cannot be read: {error.strerror}")


class ListFile(Source):
    """A list whose paths are from its own folder: a .txt, one a line, or a .csv with ``path``, perhaps ``subject``."""

    @classmethod
    def opens(cls, name: str) -> bool:
        """Whether it is a file with a list's ending."""
        return Path(name).suffix.lower() in (TEXT, TABLE) and Path(name).is_file()

    def inputs(self) -> Iterator[Input]:
        """One input for each path."""
        found = (Input(*row) for row in read_list(Path(self.name)))
        return _or_problem(found, self.name, "a list that names no picture")


class Pattern(Source):
    """The files that match a pattern such as ``'holiday/**/*.jpg'``, where no file has this name."""

    @classmethod
    def opens(cls, name: str) -> bool:
        """Whether it has wildcards."""
        return not os.path.lexists(name) and glob.has_magic(name)

    def inputs(self) -> Iterator[Input]:
        """The files."""
        return _or_problem(map(Input, matching(self.name)), self.name, "a pattern that nothing matches")


class File(Source):
    """A picture or a video.

    Raises :class:`~fer_cli.errors.PictureError` if there is no file of this name.
    """

    def __init__(self, name: str, reading: Reading):
        super().__init__(name, reading)
        if not os.path.lexists(name):
            raise PictureError(f"There is no file or folder {name}.")

    @classmethod
    def opens(cls, name: str) -> bool:
        """Whatever no other source opens."""
        return True

    def inputs(self) -> Iterator[Input]:
        """The file."""
        yield Input(Path(self.name))


#: The kinds of sources; the first that opens a name reads it.
SOURCES: list[type[Source]] = [StandardInput, Camera, Folder, ListFile, Pattern, File]


def open_sources(names: Iterable[str | Path], reading: Reading = Reading()) -> list[Source]:
    """The source of each name.

    Raises :class:`~fer_cli.errors.PictureError` if a name is neither a file nor anything else that a source opens.
    """
    return [next(kind for kind in SOURCES if kind.opens(name))(name, reading) for name in map(str, names)]


def list_inputs(sources: Sequence[Source]) -> Iterator[Input]:
    """The inputs of all sources, in order, as they are found."""
    for position, source in enumerate(sources):
        for given in source.inputs():
            yield replace(given, source=position)


def read_frames(sources: Sequence[Source], inputs: Iterable[tuple[int, Input]]) -> Iterator[Frame]:
    """The frames of numbered ``inputs`` of ``sources``, in order."""
    for index, given in inputs:
        yield from sources[given.source].frames(index, given)


def end_on_interrupt(results: Iterator[FrameResult]) -> Iterator[FrameResult]:
    """The results of a live source, which Ctrl-C ends as its own end would."""
    frame = None
    try:
        for result in results:
            frame = result.frame
            yield result
    except KeyboardInterrupt:
        if frame is not None and not frame.end:
            yield FrameResult(Frame(frame.index, frame.path, end=True))


def _or_problem(found: Iterator[Input], name: str, problem: str) -> Iterator[Input]:
    """The inputs, or if there are none one with a problem."""
    empty = True
    for given in found:
        empty = False
        yield given
    if empty:
        yield Input(Path(name), problem=problem)
