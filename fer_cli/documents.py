"""Documents (run.json, dataset.json and the like) checked against a declared type when they are read."""

from pathlib import Path
from typing import Any

import msgspec

from fer_cli.errors import FerError
from fer_cli.files import read_json


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
