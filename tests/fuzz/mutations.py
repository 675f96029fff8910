"""Valid files made invalid: what hypothesis draws, and what it does to a file's bytes."""

import json
import re
import struct
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

#: What readers stumble over, put in anywhere in a text.
TOKENS = (
    *("", "0", "-1", "²", "1e999", "-inf", "NaN", "0x10", "1_0", "9" * 5000, "1" * 400 + ".5", "true", "null"),
    *("../../../../etc/passwd", "/dev/zero", "~", "\x00", "\ufeff", "\x1b[2J", "\u202e", "\u2028", "\ud800", "=1+1"),
    *(
        "[" * 100_000,
        "{" * 5000,
        '{"a":' * 5000,
        '"' * 3,
        "," * 300,
        ";",
        "\t",
        "\r",
        "\n\n",
        "%s%n",
        "{label}",
        "*" * 60,
    ),
    *('<!DOCTYPE a [<!ENTITY b "c">]>', 'encoding="hex"', "<a>" * 2000, "&b;", "a" * 100_000),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 2**63, 10**4500, 0.5, float("inf"), float("nan"), "", "x", "²", "\ud800", "\x1b[2J"),
    *("../../../etc/passwd", "/dev/zero", [], {}, [None], {"a": 1}, [[1, 2], [3]], "a" * 100_000),
    {"auto_map": {"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil", "AutoModelForImageClassification": "evil.Evil"}},
)
ENCODINGS = ("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "utf-7", "latin-1", "cp037")

Mutate = Callable[[bytes], bytes]


def bytes_mutations() -> st.SearchStrategy[Mutate]:
    """Bytes changed, cut off, left out, repeated or put in; text with numbers replaced or in another encoding."""
    place = st.floats(0, 1)
    return st.one_of(
        st.builds(_set, st.lists(st.tuples(place, st.integers(0, 255)), min_size=1, max_size=8)),
        st.builds(_cut, place),
        st.builds(_replace, place, st.integers(0, 64), st.binary(max_size=16)),
        st.builds(_repeat, place, place),
        st.builds(_insert, place, st.sampled_from(TOKENS)),
        st.builds(_number, place, st.sampled_from(TOKENS)),
        st.builds(_encode, st.sampled_from(ENCODINGS)),
        st.builds(_line, place, place),
        st.builds(lambda content: lambda _: content, st.binary(max_size=64)),
    )


def json_mutations() -> st.SearchStrategy[Mutate]:
    """A value of a document replaced by one of another kind, left out or nested; or the bytes changed."""
    place = st.floats(0, 1)
    return st.one_of(
        st.builds(_value, place, st.sampled_from(VALUES)),
        st.builds(_value, place, st.sampled_from(VALUES)),
        st.builds(_without, place),
        st.builds(_with, st.sampled_from(VALUES)),
        bytes_mutations(),
    )


def _at(content: bytes, place: float) -> int:
    return min(int(place * len(content)), max(0, len(content) - 1))


def _set(changes: list[tuple[float, int]]) -> Mutate:
    def mutate(content: bytes) -> bytes:
        found = bytearray(content or b" ")
        for place, value in changes:
            found[_at(found, place)] = value
        return bytes(found)

    return mutate


def _cut(place: float) -> Mutate:
    return lambda content: content[: int(place * len(content))]


def _replace(place: float, length: int, by: bytes) -> Mutate:
    return lambda content: content[: _at(content, place)] + by + content[_at(content, place) + length :]


def _repeat(one: float, other: float) -> Mutate:
    def mutate(content: bytes) -> bytes:
        start, end = sorted((_at(content, one), _at(content, other)))
        return content[:end] + content[start:end] * 3 + content[end:]

    return mutate


def _insert(place: float, token: str) -> Mutate:
    return lambda content: _replace(place, 0, token.encode("utf-8", "surrogatepass"))(content)


def _number(place: float, token: str) -> Mutate:
    def mutate(content: bytes) -> bytes:
        numbers = list(re.finditer(rb"-?\d+(\.\d+)?", content[:1_000_000]))
        if not numbers:
            return _insert(place, token)(content)
        found = numbers[min(int(place * len(numbers)), len(numbers) - 1)]
        return content[: found.start()] + token.encode("utf-8", "surrogatepass") + content[found.end() :]

    return mutate


def _encode(encoding: str) -> Mutate:
    return lambda content: content.decode("utf-8", "replace").encode(encoding, "replace")


def _line(one: float, other: float) -> Mutate:
    """A line moved; of a table its header may become a row."""

    def mutate(content: bytes) -> bytes:
        lines = content.split(b"\n")
        moved = lines.pop(min(int(one * len(lines)), len(lines) - 1))
        lines.insert(int(other * len(lines)), moved)
        return b"\n".join(lines)

    return mutate


def _places(document: Any, at: tuple = ()) -> list[tuple]:
    """Where the document has values: the keys and indices that lead there."""
    found = [at]
    inside = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in inside:
        found += _places(value, (*at, key))
    return found


def _edited(edit: Callable[[Any], Any]) -> Mutate:
    """The JSON in the content, or in the header of a safetensors file, edited."""

    def mutate(content: bytes) -> bytes:
        tensors = content[8:9] == b"{" and not content.startswith(b"{")
        end = 8 + struct.unpack("<Q", content[:8])[0] if tensors else len(content)
        text = content[8 if tensors else 0 : end]
        try:
            lines = [text] if tensors or b"\n{" not in text.rstrip() else text.splitlines()
            lines[0] = json.dumps(edit(json.loads(lines[0]))).encode("utf-8", "surrogatepass")
        except ValueError:
            return content + b"}"
        text = b"\n".join(lines)
        return struct.pack("<Q", len(text)) + text + content[end:] if tensors else text

    return mutate


def _value(place: float, value: Any) -> Mutate:
    def edit(document: Any) -> Any:
        places = _places(document)
        path = places[min(int(place * len(places)), len(places) - 1)]
        if not path:
            return value
        inside = document
        for key in path[:-1]:
            inside = inside[key]
        inside[path[-1]] = value
        return document

    return _edited(edit)


def _without(place: float) -> Mutate:
    def edit(document: Any) -> Any:
        places = [path for path in _places(document) if path]
        if not places:
            return None
        path = places[min(int(place * len(places)), len(places) - 1)]
        inside = document
        for key in path[:-1]:
            inside = inside[key]
        del inside[path[-1]]
        return document

    return _edited(edit)


def _with(value: Any) -> Mutate:
    def edit(document: Any) -> Any:
        if isinstance(document, dict) and isinstance(value, dict):
            return {**document, **value, "model_type": "evil"}
        return [document, value]

    return _edited(edit)
