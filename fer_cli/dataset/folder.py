"""The folder of a dataset while it is written: its settings, its journal of finished crops, its completion."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import pandas as pd

from fer_cli.dataset import schema
from fer_cli.documents import check_document
from fer_cli.errors import DatasetError
from fer_cli.files import open_regular, read_json, write_json, write_text, written_whole

#: A line of ``faces.jsonl`` has some four hundred bytes, most of them two paths.
MAX_LINE = 100_000


def begin(out: Path, identity: dict[str, Any], *, overwrite: bool) -> str:
    """Make sure that ``out`` may be written to with the settings ``identity``; tell its state.

    Returns ``new``, ``unfinished`` or ``finished``; the last two mean the same settings. Raises
    :class:`~fer_cli.errors.DatasetError` if something else is there. ``overwrite`` clears a dataset of other settings,
    and never a folder that ``fer`` did not make.
    """
    stored = _settings_at(out)
    if stored == identity:
        return "finished" if (out / schema.CARD).is_file() else "unfinished"
    if stored is not None:
        if not overwrite:
            raise DatasetError(
                f"{out} holds a dataset prepared with other settings.",
                hint="Type --overwrite to replace it, or --out FOLDER to write elsewhere.",
            )
        _clear(out)
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DatasetError(
            f"{out} is in the way: it holds something that is no prepared dataset.",
            hint="Type --out FOLDER with the name of a new folder.",
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / schema.UNFINISHED, identity)
    except OSError as error:
        raise DatasetError(f"{out} cannot be written: {error.strerror}.", hint="Type --out FOLDER.") from error
    return "new"


def _settings_at(out: Path) -> dict[str, Any] | None:
    for name in (schema.UNFINISHED, schema.CARD):
        try:
            stored = read_json(out / name)
        except (OSError, ValueError):
            continue
        settings = stored.get("settings") if name == schema.CARD and isinstance(stored, dict) else stored
        if isinstance(settings, dict):
            return settings
    return None


def _clear(out: Path) -> None:
    """Remove what a preparation wrote, the card first so that nothing half-gone looks finished, and nothing else."""
    names = [name for name in Journal(out).entries if _inside(name)]
    for name in (schema.CARD, schema.METADATA, schema.UNFINISHED, *names, schema.FACES):
        (out / name).unlink(missing_ok=True)
    for name in (schema.EMBEDDINGS, schema.DECODED):
        shutil.rmtree(out / name, ignore_errors=True)


def _lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, none if there is none; what is longer than any that was written counts as several."""
    try:
        with open_regular(path) as file:
            while line := file.readline(MAX_LINE):
                yield line
    except FileNotFoundError:
        return
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}.") from error


def _inside(name: str) -> bool:
    path = Path(name)
    return not path.is_absolute() and ".." not in path.parts and path.parts[:1] == (schema.IMAGES,)


class Journal:
    """Journal of the crops, one JSON line each, written as they are made so that no work is lost.

    ``entries`` maps a crop's name to its facts. A line that was cut short, or whose crop is gone, is as if not there.
    """

    def __init__(self, out: Path):
        self._out = out
        self._path = out / schema.FACES
        self._file: BinaryIO | None = None
        self.entries: dict[str, dict[str, Any]] = {}
        for line in _lines(self._path):
            try:
                entry = json.loads(line)
                check_document(entry, schema.FaceDocument)
                if _inside(entry["file_name"]) and (out / entry["file_name"]).is_file():
                    self.entries[entry.pop("file_name")] = entry
            except (ValueError, OSError, RecursionError):
                continue

    def __enter__(self) -> "Journal":
        self._file = self._path.open("ab")
        # A killed run may have left its last line without an end.
        self._file.write(b"\n" if self._path.stat().st_size else b"")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self._file.close()

    def holds(self, name: str) -> bool:
        """Whether the crop ``name`` is made."""
        return name in self.entries

    def add(self, name: str, **facts: Any) -> None:
        """Record the crop ``name``."""
        self.entries[name] = facts
        self._file.write((self._line(name) + "\n").encode("utf-8", "backslashreplace"))
        self._file.flush()

    def digest(self, names: set[str]) -> str:
        """A digest of the named crops' own digests."""
        lines = (f"{name} {self.entries[name]['sha256']}\n" for name in sorted(names))
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def rewrite(self, names: set[str]) -> None:
        """Keep the named crops' lines alone, in the order of their names."""
        write_text(self._path, "".join(self._line(name) + "\n" for name in sorted(names)))

    def _line(self, name: str) -> str:
        return json.dumps({"file_name": name, **self.entries[name]}, ensure_ascii=False)


def finish(out: Path, metadata: pd.DataFrame, card: dict[str, Any], journal: Journal, *, keep: set[str]) -> None:
    """Write the tables, then the card, which is the mark of a finished dataset."""
    journal.rewrite(keep)
    with written_whole(out / schema.METADATA) as part:
        metadata.to_csv(part, index=False, encoding="utf-8")
    card["checksums"] = {
        "metadata": hashlib.sha256((out / schema.METADATA).read_bytes()).hexdigest(),
        "crops": journal.digest(keep),
    }
    write_json(out / schema.CARD, card)
    (out / schema.UNFINISHED).unlink(missing_ok=True)
