"""Embeddings of crops, in memory and in a file."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from fer_cli.files import written_whole
from fer_cli.models.tensor_file import save_tensors

_TENSOR = "embeddings"


class Embeddings:
    """Embeddings of named crops: ``table`` is V×N×D, V views of N crops, the first view being the crop as it is."""

    def __init__(self, names: Sequence[str], table: Tensor):
        if table.dim() != 3 or table.shape[1] != len(names):
            raise ValueError(f"{len(names)} names for a table of {tuple(table.shape)}")
        self.names = tuple(names)
        self.table = table
        self._place = {name: place for place, name in enumerate(self.names)}

    def of(self, names: Iterable[str]) -> Tensor:
        """V×n×D: the views of the n named crops, in the order of ``names``; raises ``KeyError`` for a strange one."""
        return self.table[:, [self._place[name] for name in names]]

    def beside(self, others: "Embeddings") -> "Embeddings":
        """These views followed by those of ``others``, of the same crops."""
        return Embeddings(self.names, torch.cat([self.table, others.of(self.names)]))

    def save(self, path: Path, key: str) -> None:
        """Write them to ``path``, whole or not at all, with the ``key`` that they are found by."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as beside:
            save_tensors({_TENSOR: self.table}, beside, {"key": key, "names": json.dumps(self.names)})

    @classmethod
    def load(cls, path: Path, key: str) -> "Embeddings | None":
        """What :meth:`save` wrote to ``path`` under ``key``; None if that is not there, or is not whole."""
        try:
            with safe_open(path, framework="pt") as file:
                told = file.metadata() or {}
                if told.get("key") != key:
                    return None
                found = cls(json.loads(told["names"]), file.get_tensor(_TENSOR))
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, RecursionError):
            return None
        return found if torch.isfinite(found.table).all() else None
