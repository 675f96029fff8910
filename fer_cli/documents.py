"""Documents (run.json, dataset.json and the like) and metadata of safetensors files, checked when they are read.

A safetensors file begins with eight bytes that say how long its header is, then the header as JSON, then the tensors'
bytes (https://huggingface.co/docs/safetensors, "Format"): its metadata can be read without loading the tensors, and
replaced in place.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from fer_cli.errors import FerError
from fer_cli.files import open_regular, read_json, written_whole


def read_document(path: Path, kind: Any, error: type[FerError]) -> Any:
    """The JSON document at ``path``, unchanged, after its fields were found to be as ``kind`` declares them.

    ``kind`` is a ``TypedDict`` or any other type that msgspec can check; what it does not declare is left alone. Raises
    ``error``, naming the field, its value's type and the type that was expected.
    """
    try:
        document = read_json(path)
        check_document(document, kind)
    except OSError as cause:
        raise error(f"{path} cannot be read: {cause.strerror or cause}.") from cause
    except (ValueError, RecursionError) as cause:  # msgspec.ValidationError is a ValueError
        raise error(f"{path} is not what fer wrote: {cause}.") from cause
    return document


def check_document(document: Any, kind: Any) -> None:
    """Check ``document`` against the type ``kind``; raises ``ValueError`` naming the field that differs."""
    try:
        msgspec.convert(document, kind)
    except msgspec.ValidationError as cause:
        raise ValueError(str(cause)) from None


#: The longest header that the safetensors library reads, in bytes.
MAX_HEADER = 100_000_000
#: The entry that names the subjects whom weights were trained on.
_SEEN = "seen_subjects"


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of the safetensors file at ``path``; empty where there is none, or the file is of another kind.

    Raises ``OSError`` if the file cannot be read.
    """
    try:
        header, _ = _read(path)
    except (ValueError, RecursionError):
        return {}
    metadata = header.get("__metadata__")
    if not isinstance(metadata, dict):
        return {}
    return {name: value for name, value in metadata.items() if isinstance(value, str)}


def write_metadata(path: Path, metadata: Mapping[str, str]) -> None:
    """Add ``metadata`` to the safetensors file at ``path``, whose metadata are sorted by name from then on.

    The file gets the permissions that the umask gives to new files. Raises ``ValueError`` if it is no such file.
    """
    header, start = _read(path)
    merged = {**header.pop("__metadata__", {}), **metadata}
    text = json.dumps({"__metadata__": dict(sorted(merged.items())), **header}, separators=(",", ":")).encode()
    # Tensors begin at a multiple of eight bytes.
    text += b" " * (-len(text) % 8)
    with written_whole(path) as part, open_regular(path) as before, part.open("wb") as after:
        before.seek(start)
        after.write(len(text).to_bytes(8, "little") + text)
        shutil.copyfileobj(before, after, 1 << 20)


def _read(path: Path) -> tuple[dict[str, Any], int]:
    """The header as a dictionary, and where the tensors' bytes begin."""
    with open_regular(path) as file:
        length = int.from_bytes(file.read(8), "little")
        if length > MAX_HEADER:
            raise ValueError(f"{path} is no safetensors file")
        header = json.loads(file.read(length))
    if not isinstance(header, dict):
        raise ValueError(f"{path} is no safetensors file")
    return header, 8 + length


def write_seen(path: Path, seen: Mapping[str, list[str]]) -> None:
    """Note in the weights at ``path`` which subjects, by corpus, they were trained on or chosen by.

    A file that is copied or renamed apart from its run says so still.
    """
    write_metadata(path, {_SEEN: json.dumps(seen, sort_keys=True)} if seen else {})


def read_seen(path: Path) -> dict[str, list[str]] | None:
    """What :func:`write_seen` noted in the weights at ``path``; None where nothing is noted.

    Raises ``OSError`` if the file cannot be read, ``ValueError`` if the note is damaged.
    """
    noted = read_metadata(path).get(_SEEN)
    if noted is None:
        return None
    try:
        seen = json.loads(noted)
    except RecursionError:
        raise ValueError("nested too deep") from None
    check_document(seen, dict[str, list[str]])
    return seen
