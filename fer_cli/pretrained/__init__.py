"""The packaged models: run folders that come with fer, so that a face is labelled right after installation."""

import hashlib
import re
from functools import cache
from pathlib import Path

from fer_cli.errors import ModelError
from fer_cli.files import read_bytes

#: The names that a command takes for a packaged model in the place of a run's folder: the one that encoders start from
#: and that finds neutral faces; and the one, several times as fast, that labels faces where no model is named.
NAME, QUICK = NAMES = "faces", "faces-quick"
FOLDER = Path(__file__).parent / NAME
#: The digests of the folder's files, as ``sha256sum`` writes and checks them. Written last: without it there is no
#: model.
CHECKSUMS = "SHA256SUMS"
#: What lies in the current folder under the same name and is meant by it: a run, or a saved model.
_MODEL_FILES = ("run.json", "unfinished.json", "config.json")
_LINE = re.compile(r"([0-9a-f]{64})  ([\w.-]+)")
_HINT = "Install fer-cli again: pip install --force-reinstall --no-deps fer-cli."


def packaged_model(name: str | Path | None = NAME) -> Path | None:
    """The folder of the packaged model called ``name``, its files checked once a process; None where there is none.

    Raises :class:`~fer_cli.errors.ModelError`, naming the file, where one is missing or damaged.
    """
    folder = _folder(name)
    if not (folder / CHECKSUMS).is_file():
        return None
    _verify(folder)
    return folder


def is_packaged(source: str | Path | None) -> bool:
    """Whether ``source`` names a packaged model; a run or a model of that name in the current folder comes first."""
    return str(source) in NAMES and not any((Path(str(source)) / file).is_file() for file in _MODEL_FILES)


def require_packaged(name: str | Path | None = NAME) -> Path:
    """The folder of a packaged model; raises :class:`~fer_cli.errors.ModelError` where there is none."""
    folder = packaged_model(name)
    if folder is None:
        raise ModelError(
            f"This installation of fer has no packaged model: there is no {_folder(name) / CHECKSUMS}.",
            hint="Install fer-cli from its wheel, or name a run's folder.",
        )
    return folder


def _folder(name: str | Path | None) -> Path:
    return FOLDER if str(name) == NAME else FOLDER.with_name(str(name))


def write_checksums(folder: Path) -> None:
    """Write the digests of all files in ``folder``."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != CHECKSUMS)
    lines = (f"{_digest(path)}  {path.name}\n" for path in files)
    (folder / CHECKSUMS).write_text("".join(lines), encoding="ascii")


@cache
def _verify(folder: Path) -> None:
    try:
        text = read_bytes(folder / CHECKSUMS, 100_000).decode("ascii")
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder / CHECKSUMS} cannot be read: {error}.", hint=_HINT) from error
    found = [_LINE.fullmatch(line) for line in text.splitlines()]
    lines = [line for line in found if line is not None]
    if not lines or len(lines) < len(found):
        raise ModelError(f"{folder / CHECKSUMS} is damaged: it is no list of SHA-256 digests.", hint=_HINT)
    for expected, name in (line.groups() for line in lines):
        try:
            digest = _digest(folder / name)
        except OSError as error:
            raise ModelError(
                f"The packaged model is damaged: {folder / name} cannot be read ({error.strerror}).", hint=_HINT
            ) from error
        if digest != expected:
            raise ModelError(f"The packaged model is damaged: the checksum of {folder / name} differs.", hint=_HINT)


def _digest(path: Path) -> str:
    return hashlib.sha256(read_bytes(path)).hexdigest()
