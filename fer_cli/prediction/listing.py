"""Names and lists of files: addresses, patterns, text files, tables, and names that come through a pipe."""

import codecs
import fnmatch
import glob
import itertools
import os
import re
import sys
import unicodedata
from collections import deque
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from fer_cli.errors import FerError, PictureError, UsageError
from fer_cli.files import above, identity_of, is_folder, listed, open_regular
from fer_cli.tables import PATH_COLUMNS, SUBJECT_COLUMNS, Table

TEXT, TABLE = ".txt", ".csv"
#: A name longer than this is no name.
MAX_NAME_BYTES = 1_000_000
CHUNK = 65_536
#: Matches any number of folders, also none.
ANY_FOLDERS = "**"

#: Protocols of this disk, and those that a list may name, which may come from others.
LOCAL, LISTED = ("file", "local"), ("http", "https", "s3", "s3a", "gs", "gcs", "hf", "az", "abfs")
_ADDRESS = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*::)*[A-Za-z][A-Za-z0-9+.-]*://")
_LINK = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://|([a-z]+)$")
#: A pattern of numbered names stands for at most this many.
MAX_NUMBERED = 100_000
_BRACES = re.compile(r"\{(?:(?P<first>\d{1,9})\.\.(?P<last>\d{1,9})|(?P<names>[^{},]*(?:,[^{},]*)+))\}")


def expand_braces(name: str) -> Iterator[str]:
    """The names that a shell would make of ``name``, as WebDataset writes its shards.

    >>> list(expand_braces("{a,b}-{08..10}.tar"))
    ['a-08.tar', 'a-09.tar', 'a-10.tar', 'b-08.tar', 'b-09.tar', 'b-10.tar']

    Raises :class:`~fer_cli.errors.UsageError` if they are more than :data:`MAX_NUMBERED`.
    """
    parts, count, end = [], 1, 0
    for found in _BRACES.finditer(name):
        first, last, names = found.group("first", "last", "names")
        if names is not None:
            options = names.split(",")
        else:
            width = max(len(first), len(last)) if first.startswith("0") or last.startswith("0") else 0
            step = 1 if int(first) <= int(last) else -1
            numbers = range(int(first), int(last) + step, step)
            options = (f"{number:0{width}d}" for number in numbers[:MAX_NUMBERED])
        count *= len(numbers if names is None else options)
        parts += [[name[end : found.start()]], options]
        end = found.end()
    if count > MAX_NUMBERED:
        raise UsageError(f"{name} stands for {count:,} names: {MAX_NUMBERED:,} are possible.")
    return map("".join, itertools.product(*parts, [name[end:]]))


if TYPE_CHECKING:
    _Path = Path
else:
    # Before Python 3.12 only the class of this system's paths can be a base.
    _Path = type(Path())


class Address(_Path):
    """The name of what is not a file of this disk, with a path's ``name``, ``stem`` and ``suffix``.

    As text it is exactly what it was made of; a path would make one slash of two. What follows a question mark up to
    the next slash is no part of the stem or the suffix.

    >>> address = Address("https://host/a//clip.mp4?signature=5")
    >>> str(address), address.stem, address.suffix
    ('https://host/a//clip.mp4?signature=5', 'clip', '.mp4')
    """

    _address: str
    __slots__ = ("_address",)

    def __new__(cls, address: str) -> "Address":
        """The address, on which a path's parts are taken from its text without queries."""
        self = super().__new__(cls, _as_path(address))
        self._address = address
        return self

    def __init__(self, address: str):
        if sys.version_info >= (3, 12):
            super().__init__(_as_path(address))

    def __str__(self) -> str:
        # A path derived from this one has no address of its own.
        return getattr(self, "_address", None) or super().__str__()

    def __fspath__(self) -> str:
        return str(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return Address, (str(self),)

    def with_segments(self, *segments: Any) -> Path:
        """A plain path for what is derived from this one."""
        return Path(*segments)


def _as_path(address: str) -> str:
    # Of a chain, the first link with a path names the file: zip://a.jpg::s3://b/c.zip, simplecache::s3://b/a.jpg.
    links = re.sub(r"[?#][^/]*", "", address).split("::")
    file = next((link for link in links if "://" in link), links[0])
    return "/".join([*(link for link in links if link is not file), file])


def is_address(name: str) -> bool:
    """Whether ``name`` is one for fsspec, not a path; ``file://`` is."""
    return _ADDRESS.match(name) is not None


def protocols_of(address: str) -> list[str]:
    """The protocols of the links of an address, the file's own first; ``file`` for a link that is a path."""
    links = [_LINK.match(link) for link in address.split("::")]
    return [link[1] or link[2] if link else LOCAL[0] for link in links]


def to_path(name: str) -> Path:
    """The :class:`Address` or the path of this ``name``; of ``file://`` the path."""
    if not is_address(name):
        return Path(name)
    if protocols_of(name) in ([each] for each in LOCAL):
        return Path(name.partition("://")[2])
    return Address(name)


def of_list(folder: Path, name: str) -> Path:
    """The path of a name in a list, from ``folder``, or its address, of a kind that a list from others may have."""
    if is_address(name) and "::" not in name and protocols_of(name)[0] in (*LISTED, *LOCAL):
        return to_path(name)
    return folder / name


def read_list(path: Path) -> Iterator[tuple[Path, str | None, str | None]]:
    """The paths of a list, from its own folder, each with its subject and its problem, where a table has them.

    Raises :class:`~fer_cli.errors.PictureError` if it cannot be read or has no column of paths.
    """
    if path.suffix.lower() == TABLE:
        yield from read_table(path, PictureError)
        return
    try:
        with open_regular(path) as file:
            yield from ((of_list(path.parent, name), None, None) for name in names_in(_as_utf8(file)))
    except OSError as error:
        raise PictureError(f"The list {path} cannot be read: {error.strerror or error}.") from error


def read_table(path: Path, error: type[FerError]) -> Iterator[tuple[Path, str | None, str | None]]:
    """The paths of a table with their subjects; a row that does not fit its header has the table's name and the line.

    Raises ``error`` if it cannot be read or has no column of paths.
    """
    # Names on disk need not be UTF-8, and come back as the bytes they are.
    table = Table(path, error, errors="surrogateescape")
    file, subject = table.column(PATH_COLUMNS), table.column(SUBJECT_COLUMNS)
    if file is None:
        raise error(
            f"The list {path} has no column of paths: it has {', '.join(filter(None, table.columns))}.",
            hint=f"Call one '{PATH_COLUMNS[0]}'; a column '{SUBJECT_COLUMNS[0]}' may name the person shown.",
        )
    for row in table:
        if row.problem:
            yield path.with_name(f"{path.name}:{row.line}"), None, row.problem
        elif name := row.values[file]:
            who = row.values[subject] if subject else ""
            yield of_list(path.parent, name), unicodedata.normalize("NFC", who) or None, None


def _as_utf8(file: IO[bytes]) -> IO[bytes]:
    """The list without a byte order mark, and in UTF-8 where that says that it is UTF-16, as of Windows' editors."""
    mark = file.read(3)
    file.seek(0)
    if mark.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return codecs.EncodedFile(file, "utf-8", "utf-16", errors="replace")
    if mark == codecs.BOM_UTF8:
        file.seek(len(mark))
    return file


def standard_input() -> IO[bytes]:
    """Standard input without a buffer, so that a name is read as soon as it is written.

    A buffer would have a lock, on which Python dies if it ends while a thread still waits for the next name.
    """
    try:
        return FileIO(sys.stdin.fileno(), closefd=False)
    except (OSError, ValueError):
        # Not a file: a caller has replaced it.
        return sys.stdin.buffer


def names_in(file: IO[bytes]) -> Iterator[str]:
    """The names in a stream, one a line, or ended by NUL (as ``find -print0`` does); each as soon as it is read.

    Raises :class:`~fer_cli.errors.FerError` if the stream is no list of names.
    """
    rest, separator = b"", b""
    while chunk := file.read(CHUNK):
        rest += chunk
        if not separator:
            separator = b"\0" if b"\0" in rest else b"\n" if b"\n" in rest else b""
        if separator:
            *whole, rest = rest.split(separator)
            yield from _names(whole, separator)
        if len(rest) > MAX_NAME_BYTES:
            raise FerError("The input is no list of names: it has a name of a million bytes.")
    yield from _names([rest], separator)


def _names(parts: list[bytes], separator: bytes) -> Iterator[str]:
    for part in parts:
        name = part if separator == b"\0" else part.removesuffix(b"\r")
        if name:
            yield os.fsdecode(name)


def matching(pattern: str) -> Iterator[Path]:
    """The files that :func:`glob.glob` would find for ``pattern`` with ``recursive``, in order.

    All parts of the pattern that may come next are tried at once, so that no folder is entered in two ways, and links
    that lead in a circle or out above the pattern's first ``**`` end there. Hidden files and folders need a part that
    begins with a dot. The time grows with the folders that the pattern leads into.
    """
    path = Path(pattern)
    parts = path.parts[1:] if path.anchor else path.parts
    literal = next((number for number, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    start = Path(path.anchor, *parts[:literal])
    rest = [_Part(part) for part in parts[literal:]]
    outside, met = above(start), set()
    starts = deque([(start, _with_skipped({0}, rest))])
    while starts:
        stack = [starts.popleft()]
        while stack:
            folder, places = stack.pop()
            identity, deep = identity_of(folder), any(rest[place].deep for place in places)
            if (identity, places) in met or (deep and identity in outside):
                continue
            met.add((identity, places))
            below: list[Any] = []
            for entry in listed(folder, hidden=any(rest[place].hidden for place in places)):
                fits = [place for place in places if rest[place].fits(entry.name)]
                if not is_folder(entry):
                    if len(rest) - 1 in fits:
                        yield folder / entry.name
                elif next_places := _with_skipped({place + (not rest[place].deep) for place in fits}, rest):
                    (starts if entry.is_symlink() else below).append((folder / entry.name, next_places))
            stack += reversed(below)


class _Part:
    """A pattern between two slashes; ``deep`` where it matches any number of folders."""

    def __init__(self, part: str):
        self.deep, self.hidden = part == ANY_FOLDERS, part.startswith(".")
        # The regular expression that fnmatch makes never goes back to an earlier star.
        self._regex = re.compile(fnmatch.translate(part))

    def fits(self, name: str) -> bool:
        return (self.hidden or not name.startswith(".")) and self._regex.match(name) is not None


def _with_skipped(places: set[int], parts: list[_Part]) -> frozenset[int]:
    """The places in the pattern, and those after a part that may match nothing, without the pattern's end."""
    for place in range(len(parts)):
        if place in places and parts[place].deep:
            places = places | {place + 1}
    return frozenset(places - {len(parts)})
