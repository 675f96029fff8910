"""Patterns of paths, ``{label}/{subject}_*.jpg``, matched in time that grows with the path's length alone."""

import re
import unicodedata
from dataclasses import dataclass

from fer_cli.errors import UsageError

FIELDS = ("label", "subject", "sequence", "frame", "split")
STAR = "*"


@dataclass(frozen=True, slots=True)
class PathPattern:
    """A pattern with named fields and stars, neither of which crosses a ``/``; letters match whatever their case.

    A field takes as little as it can and at least one character, a star as much as it can. ``folders`` has, for each
    part of the path between slashes, its literals and the wildcards between them: one literal more than wildcards.
    """

    folders: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]

    @classmethod
    def parse(cls, pattern: str) -> "PathPattern":
        """The pattern that a person typed; raises :class:`~fer_cli.errors.UsageError` if it is none."""
        fields = re.findall(r"\{(.*?)\}", pattern)
        stray = re.search(r"[{}]", re.sub(r"\{.*?\}", "", pattern))
        unknown = [name for name in fields if name not in FIELDS or fields.count(name) > 1]
        lacking = "label" not in fields or ("frame" in fields and "subject" not in fields)
        if stray or unknown or lacking:
            raise UsageError(
                f"--pattern '{pattern}' is not one.",
                hint="It needs {label}, may have {subject}, {sequence}, {frame} and {split}, each once; {frame} needs "
                "{subject}.",
            )
        folders = []
        for part in unicodedata.normalize("NFC", pattern).strip("/").split("/"):
            pieces = re.split(r"\{(.*?)\}|(\*)", part)
            wildcards = tuple(field or star for field, star in zip(pieces[1::3], pieces[2::3], strict=True))
            folders.append((tuple(map(_lower, pieces[0::3])), wildcards))
        return cls(tuple(folders))

    def match(self, path: str) -> dict[str, str] | None:
        """The fields of ``path``, composed (NFC) and as it spells them; None if it does not follow the pattern."""
        parts = unicodedata.normalize("NFC", path).split("/")
        if len(parts) != len(self.folders):
            return None
        fields: dict[str, str] = {}
        for part, (literals, wildcards) in zip(parts, self.folders, strict=True):
            found = _match(part, _lower(part), literals, wildcards)
            if found is None:
                return None
            fields |= found
        return fields


def _match(part: str, lower: str, literals: tuple[str, ...], wildcards: tuple[str, ...]) -> dict[str, str] | None:
    if not wildcards:
        return {} if lower == literals[0] else None
    # The last place at which each literal leaves room for all that follows it, found from the end; a wildcard is then
    # free to choose among the places up to that one, without ever having to come back.
    latest = [0] * len(literals)
    end = len(lower)
    for number in range(len(literals) - 1, 0, -1):
        literal = literals[number]
        at = end - len(literal) if number == len(literals) - 1 else lower.rfind(literal, 0, end)
        if end < 0 or at < 0 or not lower.startswith(literal, at):
            return None
        latest[number] = at
        end = at - (wildcards[number - 1] != STAR)
    if end < len(literals[0]) or not lower.startswith(literals[0]):
        return None
    fields, at = {}, len(literals[0])
    for number, name in enumerate(wildcards, start=1):
        last = number == len(wildcards)
        stop = latest[number] if last or name == STAR else lower.find(literals[number], at + 1)
        if name != STAR:
            fields[name] = part[at:stop]
        at = stop + len(literals[number])
    return fields


def _lower(text: str) -> str:
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    # A few letters, such as İ, are longer in lower case: they stand for themselves, so that places stay the same.
    return "".join(letter.lower() if len(letter.lower()) == 1 else letter for letter in text)
