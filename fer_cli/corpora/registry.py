"""Which corpora there are: every reader in this package, so that a new corpus is one new file."""

import pkgutil
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from inspect import isabstract, isclass
from pathlib import Path

import fer_cli.corpora
from fer_cli.corpora.corpus import Corpus
from fer_cli.errors import CorpusError, UsageError


@cache
def corpora() -> dict[str, type[Corpus]]:
    """Every corpus by its name, sorted."""
    found: dict[str, type[Corpus]] = {}
    for module in pkgutil.iter_modules(fer_cli.corpora.__path__, "fer_cli.corpora."):
        for kind in vars(import_module(module.name)).values():
            if isclass(kind) and issubclass(kind, Corpus) and not isabstract(kind) and hasattr(kind, "name"):
                found[kind.name] = kind
    return dict(sorted(found.items()))


def find(name: str) -> type[Corpus]:
    """The corpus called ``name``; raises :class:`~fer_cli.errors.UsageError` with those that there are."""
    known = corpora()
    if name in known:
        return known[name]
    near = get_close_matches(name, known, n=1)
    meant = f"Did you mean {near[0]}? " if near else ""
    raise UsageError(f"There is no corpus '{name}'.", hint=f"{meant}The corpora are {', '.join(known)}.")


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
