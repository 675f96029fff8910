"""Owners' zips, where they have not been opened yet: unpacked beside themselves, never where they say."""

import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from fer_cli.errors import CorpusError
from fer_cli.files import locked
from fer_cli.progress import Progress

#: Where zips are unpacked, in the folder that they are in.
UNPACKED = "fer-unpacked"
#: No member of a corpus of faces is larger than a long video, no zip of one larger than this or of more files.
MAX_MEMBER_BYTES, MAX_BYTES, MAX_MEMBERS = 2_000_000_000, 100_000_000_000, 1_000_000
CHUNK = 1 << 20


def opened(root: Path, progress: Progress) -> Path:
    """``root``, or, if it is a zip, the folder that it is unpacked into, beside it."""
    if root.is_file() and zipfile.is_zipfile(root):
        return unpack(root, root.parent / UNPACKED / root.stem, inside, progress)
    return root


def open_all(root: Path, progress: Progress) -> None:
    """Unpack every zip that is directly in the folder ``root``."""
    for path in sorted(root.glob("*.zip")):
        unpack(path, root / UNPACKED / path.stem, inside, progress)


def inside(name: str) -> Path | None:
    """The member's own place, if it stays in the folder and is no litter."""
    path = PurePosixPath(name.replace("\\", "/"))
    strange = path.is_absolute() or ".." in path.parts or (path.parts and ":" in path.parts[0])
    litter = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    return None if strange or litter or not path.parts else Path(*path.parts)


def unpack(path: Path, target: Path, place: Callable[[str], Path | None], progress: Progress) -> Path:
    """Unpack the members of ``path`` that have a ``place`` into ``target``, wholly or not at all; give ``target``.

    Links are passed over, and nothing is done where ``target`` is there. Raises
    :class:`~fer_cli.errors.CorpusError` for a zip that is broken, locked, or larger than a corpus can be, and where
    there is no room or permission.
    """
    # Another process that unpacks the same is waited for.
    with locked(target, "unpacking into", wait=True):
        return target if target.is_dir() else _unpack(path, target, place, progress)


def _unpack(path: Path, target: Path, place: Callable[[str], Path | None], progress: Progress) -> Path:
    beside = target.with_name(f"{target.name}.part")
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        _extract(path, beside, place, progress)
        beside.rename(target)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise CorpusError(
            f"{path} cannot be unpacked: {error}.", mend="Download it again, or unzip it by hand."
        ) from error
    except OSError as error:
        raise CorpusError(
            f"{path} cannot be unpacked into {target}: {error.strerror or error}.",
            mend="Unzip it by hand where there is room, and type that folder.",
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return target


def _extract(path: Path, target: Path, place: Callable[[str], Path | None], progress: Progress) -> None:
    with zipfile.ZipFile(path) as file:
        members = [
            (info, where)
            for info in file.infolist()
            if not info.is_dir() and not stat.S_ISLNK(info.external_attr >> 16) and (where := place(info.filename))
        ]
        if len(members) > MAX_MEMBERS or sum(info.file_size for info, _ in members) > MAX_BYTES:
            raise CorpusError(f"{path} claims to hold more than a corpus does: it is left alone.")
        for done, (info, where) in enumerate(members, start=1):
            (target / where).parent.mkdir(parents=True, exist_ok=True)
            with file.open(info) as member, (target / where).open("wb") as out:
                written = 0
                while chunk := member.read(CHUNK):
                    written += len(chunk)
                    # What a member claims to hold need not be what comes out of it.
                    if written > min(MAX_MEMBER_BYTES, info.file_size):
                        raise CorpusError(f"{info.filename} in {path} is larger than it claims or than it can be.")
                    out.write(chunk)
            progress(f"unpacking {path.name}", done, len(members))
