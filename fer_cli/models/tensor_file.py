"""Tensors written so that equal content has equal bytes."""

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor


def save_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write ``tensors`` and ``metadata`` to ``path`` as safetensors; equal arguments always give equal bytes."""
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, dict(metadata or {}) or None)
    sort_metadata(path)


def sort_metadata(path: Path) -> None:
    """Sort the metadata of the safetensors file at ``path`` by name, in place.

    The library writes them in an order that differs from process to process. A file begins with its header's length, 8
    bytes little-endian, and the header, JSON padded with spaces: https://github.com/huggingface/safetensors#format.
    """
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        if "__metadata__" in header:
            header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        file.seek(8)
        file.write(json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode().ljust(length))
