"""Thumbnails of faces, stored as results come, since their crops do not outlive them.

An SQLite file for each process lies in the checkpoint's folder, so that a resumed prediction has those of what was done
before; without a checkpoint it is a temporary file, which vanishes when it is closed.
"""

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import msgspec

from fer_cli.errors import FerError
from fer_cli.files import as_text
from fer_cli.pages import encode_jpeg
from fer_cli.prediction.results import FacePrediction, Frame, FrameResult, crop_of, face_name
from fer_cli.prediction.sinks import Sink, write_errors
from fer_cli.prediction.sinks.timelines import Peaks

#: The longer side in pixels, and the quality of the JPEG: some 3 kB a face.
SIDE, QUALITY = 96, 80
#: Frames of a video after which the thumbnails that nothing needs are removed.
PRUNED_EVERY = 500

TABLE = """CREATE TABLE IF NOT EXISTS faces (
    input INTEGER, frame INTEGER, face INTEGER, name TEXT, jpeg BLOB, PRIMARY KEY (input, frame, face)
)"""
#: By name a neutral face is looked up.
INDEX = "CREATE INDEX IF NOT EXISTS names ON faces (name)"


class ThumbnailReader:
    """Stored thumbnails, as JPEG files' bytes."""

    def __init__(self, stores: list[sqlite3.Connection]):
        self._stores = stores

    def of(self, frame: Frame, face: int) -> bytes | None:
        """The thumbnail of face number ``face`` of a frame."""
        return self._first("input = ? AND frame = ? AND face = ?", *_key(frame, face))

    def named(self, name: str) -> bytes | None:
        """The thumbnail of the face that rows call ``name`` where it is another's neutral face."""
        return self._first("name = ?", name)

    def _first(self, where: str, *values: Any) -> bytes | None:
        for store in self._stores:
            with _store_errors():
                found = store.execute(f"SELECT jpeg FROM faces WHERE {where} ORDER BY input LIMIT 1", values).fetchone()
            if found is not None:
                return bytes(found[0])
        return None


class Thumbnails(Sink):
    """A thumbnail of each face of a picture, and of a video those that a page shows: peaks and neutral faces.

    ``folder`` is where the file of this process, number ``rank``, lies; None makes it a temporary one.
    """

    immediate = True

    def __init__(self, folder: Path | None, rank: int = 0):
        self._folder, self._rank = folder, rank
        # Open within the block.
        self._store: sqlite3.Connection
        self._neutrals: set[str] = set()
        self._begin_video()

    def __enter__(self) -> Self:
        with _store_errors():
            self._store = _opened("" if self._folder is None else self._folder / f"thumbnails-{self._rank}.sqlite")
        return self

    def write(self, result: FrameResult) -> None:
        """Store the thumbnails of a result's faces."""
        frame = result.frame
        rows = [
            (
                *_key(frame, face.number),
                as_text(face_name(frame, face.number)),
                encode_jpeg(crop_of(face), SIDE, QUALITY),
            )
            for face in result.faces
        ]
        with _store_errors(), self._store:
            self._store.executemany("INSERT OR REPLACE INTO faces VALUES (?, ?, ?, ?, ?)", rows)
            if frame.number is None and not frame.end:
                self._neutrals.update(as_text(face.neutral) for face in result.faces)
                return
            for face in result.faces:
                self._neutrals.add(as_text(face.neutral))
                if (other := self._peaks.add(frame, replace(face, crop=None))) is not None:
                    self._spare.append(other)
            self._frames += 1
            if frame.end or self._frames % PRUNED_EVERY == 0:
                self._prune()
            if frame.end:
                self._begin_video()

    def __exit__(self, *error: Any) -> bool | None:
        self._store.close()
        return None

    def packed(self) -> bytes:
        """All thumbnails, to be sent to another process."""
        with _store_errors():
            return msgspec.msgpack.encode(
                self._store.execute("SELECT input, frame, face, name, jpeg FROM faces").fetchall()
            )

    def add_packed(self, packed: bytes) -> None:
        """Add what :meth:`packed` gave in another process."""
        rows = msgspec.msgpack.decode(packed, type=list[tuple[int, int, int, str, bytes]])
        with _store_errors(), self._store:
            self._store.executemany("INSERT OR REPLACE INTO faces VALUES (?, ?, ?, ?, ?)", rows)

    @contextmanager
    def reading(self) -> Iterator[ThumbnailReader]:
        """The thumbnails of all processes."""
        with ExitStack() as stack:
            if self._folder is None:
                yield ThumbnailReader([self._store])
                return
            paths = sorted(self._folder.glob("thumbnails-*.sqlite"))
            with _store_errors():
                stores = [stack.enter_context(closing(_opened(path))) for path in paths]
            yield ThumbnailReader(stores)

    def _begin_video(self) -> None:
        self._peaks, self._frames = Peaks(), 0
        self._spare: list[tuple[Frame, FacePrediction]] = []

    def _prune(self) -> None:
        keys = [
            _key(frame, face.number)
            for frame, face in self._spare
            if as_text(face_name(frame, face.number)) not in self._neutrals
        ]
        self._store.executemany("DELETE FROM faces WHERE input = ? AND frame = ? AND face = ?", keys)
        self._spare = []


def _key(frame: Frame, face: int) -> tuple[int, int, int]:
    # In SQL no NULL equals another.
    return frame.index, -1 if frame.number is None else frame.number, face


def _opened(path: Path | str) -> sqlite3.Connection:
    store = sqlite3.connect(path)
    # A killed process leaves the file whole without waiting for the disk; after a power cut it is begun anew anyway.
    store.execute("PRAGMA synchronous = OFF")
    store.execute("PRAGMA journal_mode = PERSIST")
    store.execute(TABLE)
    store.execute(INDEX)
    return store


@contextmanager
def _store_errors() -> Iterator[None]:
    """Turn SQLite's errors in the block into a :class:`~fer_cli.errors.FerError`."""
    with write_errors("the file of thumbnails"):
        try:
            yield
        except sqlite3.Error as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
            raise FerError(
                f"The thumbnails of --report cannot be stored or read: {error}.",
                hint="Type --overwrite to begin anew, or predict without --report.",
            ) from error
