"""Shards: files that hold many pictures, as data sets are kept: WebDataset's tars, Parquet, Hugging Face's Arrow files.

A picture in a shard is found by its place, two numbers, in any process that opens the shard: where a tar's member
begins and its size in bytes, or the row group and the row in it. Nothing is unpacked to the disk.
"""

import json
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from fer_cli.errors import PictureError
from fer_cli.faces.decode import MAX_BYTES, begins_as_picture
from fer_cli.faces.formats import VIDEO_HEAD, begins_as_video, is_picture, is_video
from fer_cli.files import is_litter
from fer_cli.prediction.sources.remote import MAX_VIDEO_BYTES, Content, copied, open_seekable, reason_of
from fer_cli.tables import SUBJECT_COLUMNS

TAR, PARQUET, ARROW = ".tar", ".parquet", ".arrow"
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst")
IS_COMPRESSED = "a compressed tar, in which no member can be read without all before it: unpack it to a .tar"
#: A tar's header, with a long name or what PAX adds, is no longer than this.
MAX_HEADER = 16_000_000
#: Rows decoded at once, and bytes of a column read at once.
ROWS, BUFFER = 16, 1 << 20
#: The columns that pictures are looked for in first, where several hold bytes.
PICTURE_COLUMNS = ("image", "img", "picture", "photo", "face", "jpg", "jpeg", "png", "webp", "image_bytes", "video")

Place = tuple[int, int]


class Entry(NamedTuple):
    """A picture or video in a shard: what is added to the shard's name, its place, the person shown, a problem."""

    name: str
    place: Place | None = None
    subject: str | None = None
    problem: str | None = None


def is_shard(path: Path) -> bool:
    """Whether the name is that of a shard, perhaps of one that is compressed and is not read."""
    return path.suffix.lower() in (TAR, PARQUET, ARROW) or path.name.lower().endswith(COMPRESSED)


class Shard(ABC):
    """A shard in an open file."""

    about: str

    def __init__(self, file: IO[bytes]):
        self._file = file

    @abstractmethod
    def entries(self) -> Iterator[Entry]:
        """Its pictures and videos, in order, as they are found; one without a place for where it breaks off."""

    @abstractmethod
    def open(self, place: Place, name: str) -> Content:
        """The picture or video at ``place``, called ``name``.

        Raises :class:`~fer_cli.errors.PictureError`, with a few words, if it cannot be read whole.
        """


def open_shard(path: Path) -> Shard:
    """The shard at a path or an address.

    Raises :class:`~fer_cli.errors.PictureError`, with a few words, if it cannot be opened or has no pictures.
    """
    if path.name.lower().endswith(COMPRESSED):
        raise PictureError(IS_COMPRESSED)
    kinds: dict[str, type[TarShard] | type[ParquetShard] | type[ArrowShard]] = {
        TAR: TarShard,
        PARQUET: ParquetShard,
        ARROW: ArrowShard,
    }
    kind = kinds[path.suffix.lower()]
    file = open_seekable(path)
    try:
        with _broken(kind.about):
            return kind(file)
    except PictureError:
        file.close()
        raise


@contextmanager
def _broken(about: str) -> Iterator[None]:
    """Turn whatever a library raises of a damaged file into a :class:`~fer_cli.errors.PictureError`."""
    try:
        yield
    except PictureError:
        raise
    except MemoryError as error:
        raise PictureError(f"{about} with a row too large for this machine") from error
    except Exception as error:  # Arrow and fsspec raise errors of many kinds
        raise PictureError(reason_of(error)[0] or f"{about} that is broken or cut short") from error


class TarShard(Shard):
    """A tar, of WebDataset or any other: each regular member that is a picture or video, by its name.

    A member without an ending is told by its first bytes. Links, devices, folders and hidden members are ignored.
    """

    about = "a tar"

    def __init__(self, file: IO[bytes]):
        self._file = file

    def entries(self) -> Iterator[Entry]:
        """The members, as their headers are read; a cut or damaged tar ends in an entry with a problem."""
        whole = self._file.seek(0, 2)
        self._file.seek(0)
        last, reached = "", -1
        try:
            with tarfile.open(fileobj=cast(IO[bytes], _Headers(self._file)), mode="r:") as tar:
                while (member := tar.next()) is not None:
                    # The module keeps all that it has read, and follows sizes that lead backwards.
                    tar.members.clear()  # type: ignore[attr-defined]  # typeshed lacks it
                    if tar.offset <= reached:
                        raise tarfile.ReadError
                    reached = tar.offset
                    if member.isreg() and member.offset_data + member.size > whole:
                        yield Entry("", problem=f"a tar that is cut short within {member.name!r}")
                        return
                    last = member.name
                    if member.isreg() and _is_shown(member.name) and self._is_read(tar, member):
                        yield self._entry(member)
                end = tar.offset
            # The module takes whatever is no header for the end.
            self._file.seek(end)
            if any(mark := self._file.read(tarfile.BLOCKSIZE)) or len(mark) < tarfile.BLOCKSIZE:
                raise tarfile.ReadError
        except PictureError as error:
            yield Entry("", problem=error.message)
        except Exception as error:  # of damaged headers the module raises errors of many kinds
            where = f"after {last!r}" if last else "at its beginning"
            reason = reason_of(error)[0]
            yield Entry("", problem=f"{reason}, {where}" if reason else f"a tar that is cut short or damaged {where}")

    def open(self, place: Place, name: str) -> Content:
        """The member's bytes."""
        offset, size = place
        with _broken(self.about):
            self._file.seek(offset)
            return copied(self._file, name, limit=MAX_VIDEO_BYTES, size=size)

    @staticmethod
    def _entry(member: tarfile.TarInfo) -> Entry:
        if member.issparse():
            return Entry(f"/{member.name}", problem="stored with holes, which are not read")
        return Entry(f"/{member.name}", (member.offset_data, member.size))

    @staticmethod
    def _is_read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bool:
        path = Path(member.name)
        if path.suffix or member.issparse():
            return is_picture(path) or is_video(path)
        file = tar.extractfile(member)
        if file is None:
            return False
        if begins_as_video(file.read(VIDEO_HEAD)):
            return True
        file.seek(0)
        return member.size <= MAX_BYTES and begins_as_picture(file)


def _is_shown(name: str) -> bool:
    return not any(is_litter(part) for part in name.split("/") if part not in ("", ".", ".."))


class _Headers:
    """A file as :mod:`tarfile` reads it, which reads headers whole, of any size that they state."""

    def __init__(self, file: IO[bytes]):
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_HEADER:
            raise tarfile.ReadError
        return self._file.read(size)


class _TableShard(Shard):
    """A table with a column of pictures: bytes, or as Hugging Face stores them a structure of bytes and path.

    A row's name is the shard's, a colon, and its number from 0. A column of :data:`~fer_cli.tables.SUBJECT_COLUMNS`
    names the person shown.
    """

    about = "a table"

    def __init__(self, schema: Any, size: int):
        self._size = size
        self._picture, self._nested = picture_column(schema, self.about)
        names = {name.strip().casefold(): name for name in schema.names}
        found = (names[name] for name in SUBJECT_COLUMNS if name in names)
        self._subject = next(found, None)
        self._reached: Place = (0, 0)
        self._values: Iterator[Any] | None = None

    @abstractmethod
    def _groups(self) -> Iterator[tuple[int, Iterator[Any]]]:
        """The groups of rows in order: how many rows each has, and their subjects."""

    @abstractmethod
    def _pictures(self, group: int) -> Iterator[Any]:
        """The values of the column of pictures in ``group``, as Arrow's scalars."""

    def entries(self) -> Iterator[Entry]:
        """The rows."""
        number = 0
        try:
            for group, (count, subjects) in enumerate(self._groups()):
                # A picture takes more than a byte; a damaged count could be any.
                if number + count > self._size:
                    raise PictureError(f"{self.about} that states more rows than it has bytes")
                for row in range(count):
                    subject = next(subjects, None)
                    yield Entry(f":{number}", (group, row), None if subject in (None, "") else str(subject))
                    number += 1
        except PictureError as error:
            yield Entry("", problem=error.message)
        except Exception as error:  # Arrow and fsspec raise errors of many kinds
            reason = reason_of(error)[0] or f"{self.about} that is broken or cut short"
            yield Entry("", problem=f"{reason}, after {number} rows")

    def open(self, place: Place, name: str) -> Content:
        """The bytes of a row's picture; rows in order are read once."""
        group, row = place
        with _broken(self.about):
            if self._values is None or self._reached[0] != group or self._reached[1] > row:
                self._values, self._reached = self._pictures(group), (group, 0)
            value: Any = None
            while self._reached[1] <= row:
                self._reached = (group, self._reached[1] + 1)
                value = next(self._values)
            data = value[self._nested].as_py() if self._nested and value.is_valid else value.as_py()
            if data is None:
                raise PictureError("a row without the bytes of a picture")
            content = Content(name)
            content.write(data)
            content.seek(0)
            return content


def picture_column(schema: Any, about: str) -> tuple[str, str | None]:
    """The column of pictures of Arrow's ``schema``, and the field of it that holds the bytes if it is a structure.

    Raises :class:`~fer_cli.errors.PictureError` if there is none.
    """
    from pyarrow import types

    def is_bytes(kind: Any) -> bool:
        return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind))

    found: dict[str, str | None] = {}
    for field in schema:
        if is_bytes(field.type):
            found[field.name] = None
        elif types.is_struct(field.type):
            index = field.type.get_field_index("bytes")
            if index >= 0 and is_bytes(field.type.field(index).type):
                found[field.name] = "bytes"
    if not found:
        columns = ", ".join(schema.names[:20])
        raise PictureError(f"{about} without a column of pictures' bytes: its columns are {columns}")
    stated = [name for name in found if name in _stated(schema)]
    named = [name for wanted in PICTURE_COLUMNS for name in found if name.casefold() == wanted]
    structures = [name for name, nested in found.items() if nested]
    chosen = (*stated, *named, *structures, *found)[0]
    return chosen, found[chosen]


def _stated(schema: Any) -> set[str]:
    """The columns of pictures and videos that Hugging Face's metadata state."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {name for name, about in features.items() if about.get("_type") in ("Image", "Video")}
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return set()


class ParquetShard(_TableShard):
    """A Parquet file, of whose row groups a few rows are in memory at a time."""

    about = "a Parquet file"

    def __init__(self, file: IO[bytes]):
        from pyarrow.parquet import ParquetFile

        size = file.seek(0, 2)
        file.seek(0)
        self._table = ParquetFile(file, pre_buffer=False, buffer_size=BUFFER)
        super().__init__(self._table.schema_arrow, size)

    def _groups(self) -> Iterator[tuple[int, Iterator[Any]]]:
        for group in range(self._table.num_row_groups):
            subjects = iter(()) if self._subject is None else self._column(group, self._subject, 4096)
            yield self._table.metadata.row_group(group).num_rows, (subject.as_py() for subject in subjects)

    def _pictures(self, group: int) -> Iterator[Any]:
        return self._column(group, f"{self._picture}.{self._nested}" if self._nested else self._picture, ROWS)

    def _column(self, group: int, column: str, rows: int) -> Iterator[Any]:
        for batch in self._table.iter_batches(rows, [group], [column], use_threads=False):
            yield from batch.column(0)


class ArrowShard(_TableShard):
    """An Arrow file as Hugging Face's ``save_to_disk`` writes it, read batch by batch."""

    about = "an Arrow file"

    def __init__(self, file: IO[bytes]):
        self._file = file
        size = file.seek(0, 2)
        self._batch: tuple[int, Any] | None = None
        super().__init__(self._open(None).schema, size)

    def _open(self, columns: list[int] | None) -> Any:
        from pyarrow import ipc

        self._file.seek(0)
        kind = ipc.open_file if self._file.read(6) == b"ARROW1" else ipc.open_stream
        self._file.seek(0)
        return kind(self._file, options=ipc.IpcReadOptions(included_fields=columns, use_threads=False))

    def _batches(self, column: str) -> Iterator[Any]:
        reader = self._open([self._open(None).schema.get_field_index(column)])
        batches = (
            reader if hasattr(reader, "read_next_batch") else map(reader.get_batch, range(reader.num_record_batches))
        )
        for batch in batches:
            # What the file states of its own layout may be false.
            batch.validate(full=True)
            yield batch

    def _groups(self) -> Iterator[tuple[int, Iterator[Any]]]:
        for batch in self._batches(self._subject or self._picture):
            yield batch.num_rows, (value.as_py() for value in batch.column(0) if self._subject)

    def _pictures(self, group: int) -> Iterator[Any]:
        if self._batch is None or self._batch[0] > group:
            self._batch = None
            self._left = enumerate(self._batches(self._picture))
        while self._batch is None or self._batch[0] < group:
            self._batch = next(self._left)
        yield from self._batch[1].column(0)
