"""CK+'s zips, where they have not been opened yet."""

import re
import shutil
import zipfile
from pathlib import Path

from fer_cli.corpora.ckplus.names import kind_of
from fer_cli.corpora.ckplus.tree import Tree
from fer_cli.errors import CorpusError
from fer_cli.progress import Progress

#: Where they are unpacked, beside them.
UNPACKED = "fer-unpacked"
#: A member's path, of which only the owners' own names are kept: what leads out of the folder is never joined to it.
MEMBER = re.compile(r"(?:.*/)?(S\d{3})/(\d{3})/(S\d{3}_\d{3}_[^/\\]+)", re.IGNORECASE)
#: The largest picture of CK+ is under 1 MB; the whole of it is under 2 GB, in about 22,000 files.
MAX_MEMBER_BYTES, MAX_BYTES, MAX_MEMBERS = 20_000_000, 8_000_000_000, 100_000


def find_zips(root: Path) -> dict[str, Path]:
    """The zips at ``root`` or in a folder of it, by what they hold: ``images``, ``emotion`` and so on."""
    found: dict[str, Path] = {}
    for path in sorted([*root.glob("*.zip"), *root.glob("*/*.zip")]):
        try:
            with zipfile.ZipFile(path) as file:
                kinds = (_kind(info) for info in file.infolist()[:MAX_MEMBERS])
                kind = next((kind for kind in kinds if kind), None)
        except (OSError, zipfile.BadZipFile):
            continue
        if kind:
            found.setdefault(kind, path)
    return found


def unpack(root: Path, zips: dict[str, Path], tree: Tree, progress: Progress) -> None:
    """Unpack the ``zips`` whose kind ``tree`` lacks, each wholly or not at all.

    Raises :class:`~fer_cli.errors.CorpusError` for a zip that is broken, locked, or larger than CK+ can be, and where
    there is no room or permission.
    """
    for kind, path in zips.items():
        if kind == "facs" or getattr(tree, kind) is not None:
            continue
        target = root / UNPACKED / kind
        beside = target.with_name(f"{kind}.part")
        try:
            shutil.rmtree(beside, ignore_errors=True)
            beside.mkdir(parents=True)
            _extract(path, beside, progress)
            beside.rename(target)
        except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
            raise CorpusError(
                f"{path} cannot be unpacked: {error}.", mend="Download it again, or unzip it by hand."
            ) from error
        except OSError as error:
            raise CorpusError(
                f"{path} cannot be unpacked into {root / UNPACKED}: {error.strerror or error}.",
                mend="Unzip it by hand where there is room, and type that folder.",
            ) from error
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def _extract(path: Path, target: Path, progress: Progress) -> None:
    with zipfile.ZipFile(path) as file:
        members = [(info, _place(info)) for info in file.infolist() if _kind(info)]
        if len(members) > MAX_MEMBERS or sum(info.file_size for info, _ in members) > MAX_BYTES:
            raise CorpusError(f"{path} claims to hold more than CK+ does: it is left alone.")
        for done, (info, place) in enumerate(members, start=1):
            with file.open(info) as member:
                data = member.read(MAX_MEMBER_BYTES + 1)
            if len(data) > MAX_MEMBER_BYTES:
                raise CorpusError(f"{info.filename} in {path} is larger than any file of CK+.")
            where = target / place
            where.parent.mkdir(parents=True, exist_ok=True)
            where.write_bytes(data)
            progress(f"unpacking {path.name}", done, len(members))


def _kind(info: zipfile.ZipInfo) -> str | None:
    match = MEMBER.fullmatch(info.filename)
    return kind_of(match[3]) if match else None


def _place(info: zipfile.ZipInfo) -> Path:
    subject, sequence, name = MEMBER.fullmatch(info.filename).groups()
    return Path(subject, sequence, name)
