"""Sources of frames: pictures, videos, folders, patterns, lists, shards, addresses, standard input, a camera.

A source is one subclass of :class:`Source` in :data:`SOURCES`.
"""

import glob
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import IO

import cv2

from fer_cli.errors import FerError, PictureError
from fer_cli.faces.decode import begins_as_picture
from fer_cli.faces.formats import is_picture, is_video
from fer_cli.files import walk
from fer_cli.prediction.listing import (
    TABLE,
    TEXT,
    Address,
    expand_braces,
    is_address,
    matching,
    names_in,
    of_list,
    read_list,
    standard_input,
    to_path,
)
from fer_cli.prediction.results import Frame, FrameResult
from fer_cli.prediction.sources.base import Input, Reading, Source, contents, holds_video
from fer_cli.prediction.sources.remote import addresses_below, check_address, matching_addresses
from fer_cli.prediction.sources.shards import is_shard

__all__ = ["SOURCES", "Input", "Reading", "Source", "list_inputs", "open_sources", "read_frames"]

STANDARD_INPUT, CAMERA = "-", "camera:"
NO_PICTURES = "a folder without a picture or video"
#: Pictures at addresses that are fetched at once.
FETCHES = 16
#: So many names of a folder are compared with one that is not there.
_LOOKED_AT = 1000


class StandardInput(Source):
    """Paths on standard input, each read as soon as it is written."""

    replayable = False

    @classmethod
    def opens(cls, name: str) -> bool:
        """Whether it is a dash."""
        return name == STANDARD_INPUT

    def inputs(self) -> Iterator[Input]:
        """One input for each name."""
        return (given for name in names_in(standard_input()) for given in contents(of_list(Path(), name)))


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
    """A folder's pictures and videos at every depth, by name; where it has none, those in its shards.

    A file is a picture if its name or its first bytes say so, a file without an ending also a video if those do. Hidden
    files and folders are ignored; links are followed, and each folder is entered once however many links lead there.
    """

    @classmethod
    def opens(cls, name: str) -> bool:
        """Whether it is a folder."""
        return Path(name).is_dir()

    def inputs(self) -> Iterator[Input]:
        """Its files; a folder inside that cannot be read is an input with a problem."""
        return _or_problem(_files_or_shards(self._files()), self.name, NO_PICTURES)

    def _files(self) -> Iterator[Input]:
        closed: list[OSError] = []
        for parent, files in walk(Path(self.name), excluded=self.reading.exclude, on_error=closed.append):
            for path in (parent / name for name in files):
                # A pipe, a socket or a device is an input that cannot be read, not one to ignore.
                special = path.exists() and not path.is_file()
                if is_shard(path) and not special:
                    yield Input(path, shard=str(path))
                elif special or is_picture(path) or holds_video(path, path) or begins_as_picture(path):
                    yield Input(path)
        for error in closed:
            yield Input(Path(error.filename), problem=f"a folder that cannot be read: {error.strerror}")


def _files_or_shards(found: Iterable[Input]) -> Iterator[Input]:
    """The inputs of a folder without its shards; if there are none, what is in those.

    Among pictures a tar is taken for a copy of them, and a table for what describes them.
    """
    shards, empty = [], True
    for given in found:
        if given.shard is not None:
            shards.append(given.path)
        else:
            empty = empty and given.problem is not None
            yield given
    # Hugging Face's cache of what was computed from a data set lies next to it.
    for path in shards if empty else ():
        if not path.name.startswith("cache-"):
            yield from contents(path)


class ListFile(Source):
    """A list whose paths are from its own folder: a .txt, one a line, or a .csv with ``path``, perhaps ``subject``."""

    @classmethod
    def opens(cls, name: str) -> bool:
        """Whether it is a file with a list's ending."""
        return Path(name).suffix.lower() in (TEXT, TABLE) and Path(name).is_file()

    def inputs(self) -> Iterator[Input]:
        """One input for each path."""
        rows = read_list(Path(self.name))
        found = (
            given
            for path, subject, problem in rows
            for given in ([Input(path, subject, problem)] if problem else contents(path, subject))
        )
        return _or_problem(found, self.name, "a list that names no picture")


class Pattern(Source):
    """The files that match a pattern such as ``'holiday/**/*.jpg'``, where no file has this name."""

    @classmethod
    def opens(cls, name: str) -> bool:
        """Whether it has wildcards."""
        return glob.has_magic(name) and not os.path.lexists(name)

    def inputs(self) -> Iterator[Input]:
        """The files."""
        found = (given for path in matching(self.name) for given in contents(path))
        return _or_problem(found, self.name, "a pattern that nothing matches")


class Remote(Source):
    """What fsspec opens: a picture, a video, a shard, a folder, or a pattern at an address such as ``s3://…``.

    Raises :class:`~fer_cli.errors.PictureError` if a package for it is missing.
    """

    def __init__(self, name: str, reading: Reading):
        super().__init__(name, reading)
        check_address(name)

    @classmethod
    def opens(cls, name: str) -> bool:
        """Whether it begins with a protocol."""
        return is_address(name)

    def inputs(self) -> Iterator[Input]:
        """The files; those of a folder are told by their names alone."""
        names = matching_addresses(self.name)
        if names is None:
            found, problem = _files_or_shards(self._below()), NO_PICTURES
        else:
            found = (given for name in names for given in contents(Address(name)))
            problem = "a pattern that nothing matches"
        return _or_problem(found, self.name, problem)

    def _below(self) -> Iterator[Input]:
        for name, problem in addresses_below(self.name):
            path = Address(name)
            if problem or is_picture(path) or is_video(path):
                yield Input(path, problem=problem)
            elif is_shard(path):
                yield Input(path, shard=name)


def _meant(path: Path) -> str:
    """A hint for a path that is not there: what is most like it next to it."""
    names: list[str] = []
    with suppress(OSError), os.scandir(path.parent) as entries:
        names = [entry.name for entry in islice(entries, _LOOKED_AT)]
    near = get_close_matches(path.name[:100], names, n=1)
    return f"Did you mean {path.parent / near[0]}?" if near else ""


class File(Source):
    """A picture, a video, or a shard with many of them.

    Raises :class:`~fer_cli.errors.PictureError` if there is no file of this name.
    """

    def __init__(self, name: str, reading: Reading):
        super().__init__(name, reading)
        if not os.path.lexists(name):
            raise PictureError(f"There is no file or folder {name}.", hint=_meant(Path(name)))

    @classmethod
    def opens(cls, name: str) -> bool:
        """Whatever no other source opens."""
        return True

    def inputs(self) -> Iterator[Input]:
        """The file, or what is in it."""
        return contents(Path(self.name))


#: The kinds of sources; the first that opens a name reads it.
SOURCES: list[type[Source]] = [StandardInput, Camera, Remote, Folder, ListFile, Pattern, File]


def open_sources(names: Iterable[str | Path], reading: Reading | None = None) -> list[Source]:
    """The source of each name, and of each that a shell would make of braces in it: ``shard-{000..012}.tar``.

    Raises :class:`~fer_cli.errors.PictureError` if a name is neither a file nor anything else that a source opens.
    """
    reading = reading or Reading()
    expanded = (each for name in map(str, names) for each in ([name] if os.path.lexists(name) else expand_braces(name)))
    return [
        next(kind for kind in SOURCES if kind.opens(name))(name, reading) for name in map(str, map(to_path, expanded))
    ]


def list_inputs(sources: Sequence[Source]) -> Iterator[Input]:
    """The inputs of all sources, in order, as they are found."""
    for position, source in enumerate(sources):
        for given in source.inputs():
            yield replace(given, source=position)


def read_frames(sources: Sequence[Source], inputs: Iterable[tuple[int, Input]]) -> Iterator[Frame]:
    """The frames of numbered ``inputs`` of ``sources``, in order; files at addresses are fetched several at once."""
    pool = ThreadPoolExecutor(FETCHES, "fer-fetch")
    waiting: deque[tuple[Future[Frame | None], Iterator[Frame]]] = deque()

    def fetched() -> Iterator[Frame]:
        first, others = waiting.popleft()
        frame = first.result()
        yield from () if frame is None else (frame,)
        yield from others

    try:
        for index, given in inputs:
            source = sources[given.source]
            frames = source.frames(index, given)
            # Names on standard input are waited for one by one, and a chain's parts may not be read at once.
            if (
                source.replayable
                and isinstance(given.path, Address)
                and not given.shard
                and "::" not in str(given.path)
            ):
                waiting.append((pool.submit(next, frames, None), frames))
                if len(waiting) == FETCHES:
                    yield from fetched()
                continue
            while waiting:
                yield from fetched()
            yield from frames
        while waiting:
            yield from fetched()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def reopen(sources: Sequence[Source], frame: Frame) -> Path | IO[bytes]:
    """The file that ``frame`` is of: its path, or a copy of its bytes, to be read and closed.

    Raises :class:`~fer_cli.errors.PictureError`, with a few words, if it cannot be read any more.
    """
    return frame.path if frame.origin is None else sources[frame.origin.source].open(frame.origin)


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
        yield Input(to_path(name), problem=problem)
