"""Subjects behind weights: whom a model, and the runs that it started from, were trained on."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from fer_cli.errors import RunError
from fer_cli.header import read_seen
from fer_cli.runs.run import CARD, UNFINISHED, WEIGHTS, Run

_PSEUDONYM = re.compile("#[0-9a-f]{16}")


def run_behind(source: Path) -> Path | None:
    """The folder of the run, finished or not, that ``source``, a folder or a file of weights, is or lies in."""
    for start in (source.absolute(), source.resolve()):
        for folder in (start, *start.parents):
            # A folder above that may not be looked into is no run's.
            with suppress(OSError):
                if any((folder / card).is_file() for card in (CARD, UNFINISHED)):
                    return folder
    return None


def seen_behind(source: Path) -> dict[str, list[str]]:
    """By corpus, the subjects whom the weights of ``source``, a folder or a file, were trained on or chosen by.

    They are those that the header of the weights names, which a copy keeps, and those of the run around them. Raises
    :class:`~fer_cli.errors.RunError` where they lie in a training that has not been finished and do not name them.
    """
    file = source / WEIGHTS if source.is_dir() else source
    try:
        noted = read_seen(file) if file.is_file() else None
    except (OSError, ValueError) as error:
        raise RunError(f"{file} does not say on whom it was trained: {error}.") from error
    folder = run_behind(source)
    if folder is None or (noted is not None and not (folder / CARD).is_file()):
        return noted or {}
    return merged(noted or {}, Run.open(folder).seen)


def merged(one: Mapping[str, list[str]], other: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """The subjects of both, by corpus, sorted."""
    return {name: sorted({*one.get(name, []), *other.get(name, [])}) for name in {**one, **other}}


def shared_subjects(seen: dict[str, list[str]], corpus: str, subjects: set[str]) -> list[str]:
    """The ``subjects`` of ``corpus`` that are among those ``seen``, by name or by :func:`pseudonym`, sorted."""
    known = set(seen.get(corpus, []))
    return sorted(name for name in subjects if name in known or pseudonym(corpus, name) in known)


def pseudonym(corpus: str, subject: str) -> str:
    """What stands for a subject's name in published weights: ``#`` and 16 hexadecimal digits.

    The same name of the same corpus always gives the same, so that a test on this subject is recognised. It hides a
    name from reading, not from somebody who has the corpus's list of names to compare with.
    """
    return f"#{hashlib.sha256(f'{corpus}\0{subject}'.encode(errors='surrogateescape')).hexdigest()[:16]}"


def pseudonyms(seen: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """The subjects by corpus, each as its :func:`pseudonym`, sorted; those that have one keep it."""
    return {
        corpus: sorted({name if _PSEUDONYM.fullmatch(name) else pseudonym(corpus, name) for name in subjects})
        for corpus, subjects in seen.items()
    }


def names(subjects: list[str], most: int = 20) -> str:
    """The subjects' names for a sentence, cut short after ``most``."""
    return ", ".join(subjects[:most]) + (f" and {len(subjects) - most} more" if len(subjects) > most else "")
