"""One file per corpus: what its owners ship, read into records."""

import pkgutil
from functools import cache
from importlib import import_module
from inspect import isabstract, isclass
from pathlib import Path

from fer_cli.corpora.base import Corpus
from fer_cli.errors import CorpusError


@cache
def corpora() -> dict[str, type[Corpus]]:
    """Every corpus by its name, sorted."""
    found: dict[str, type[Corpus]] = {}
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        for kind in vars(import_module(module.name)).values():
            if isclass(kind) and issubclass(kind, Corpus) and not isabstract(kind) and hasattr(kind, "name"):
                found[kind.name] = kind
    return dict(sorted(found.items()))


def detect(folder: Path) -> list[type[Corpus]]:
    """The corpora whose layout begins at or below ``folder``."""
    found = []
    for kind in corpora().values():
        if not kind.detectable:
            continue
        try:
            kind().locate(folder)
        except CorpusError:
            continue
        found.append(kind)
    return found
