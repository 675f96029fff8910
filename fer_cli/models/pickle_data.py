"""Pickles that hold data only, interpreted step by step so that nothing in them is run and no reading is without end.

A pickle is a program. This interpreter knows the steps that dictionaries of arrays need and refuses every other; what a
pickle calls by name is answered by the caller's own functions. Steps, integers and the parts of a tuple are counted: a
few bytes can describe a tuple whose hash takes years, because each of its parts is the same tuple, one level down.
"""

import pickletools
from collections.abc import Callable
from typing import Any, BinaryIO

#: The published identity weights take fewer than 10,000 steps.
MAX_STEPS = 2_000_000
#: The parts of a tuple, those of the tuples in it included.
MAX_PARTS = 10_000

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_INTEGERS = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1"}
_LEAVES = {
    *("FLOAT", "BINFLOAT", "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"),
    *("BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MARK = object()


class PickleRefusedError(ValueError):
    """A pickle does what a pickle of data has no need of."""


class Tuple(tuple):
    """A tuple that knows how many ``parts`` it has, those of the tuples in it included."""

    parts: int

    @classmethod
    def of(cls, values: list[Any]) -> "Tuple":
        """The tuple of ``values``; raises :class:`PickleRefusedError` where it has too many parts."""
        made = cls(values)
        made.parts = 1 + sum(getattr(value, "parts", 1) for value in values)
        if made.parts > MAX_PARTS:
            raise PickleRefusedError("nests tuples in tuples without need")
        return made


class Interpreter:
    """Interprets pickles of data.

    ``find(module, name)`` gives the function that stands in for what a pickle calls by name, or raises. What such a
    function returns may have a method ``build(state)``; other objects take no state. ``persistent`` answers what a
    pickle refers to outside of itself.
    """

    def __init__(self, find: Callable[[str, str], Callable[..., Any]], persistent: Callable[[Any], Any] | None = None):
        self._find = find
        self._persistent = persistent

    def load(self, file: BinaryIO) -> Any:
        """The object in the next pickle of ``file``.

        Raises :class:`PickleRefusedError` if it does anything else than to hold data, or whatever ``find`` raises.
        """
        stack: list[Any] = []
        memo: dict[int, Any] = {}
        for count, (step, value, _) in enumerate(pickletools.genops(file)):
            if count > MAX_STEPS:
                raise PickleRefusedError("has no end")
            name = step.name
            if name == "STOP":
                return stack.pop()
            if name in _CONSTANTS:
                stack.append(_CONSTANTS[name])
            elif name in _INTEGERS:
                # torch's files begin with a number of 77 bits.
                if abs(value) >= 1 << 127:
                    raise PickleRefusedError("holds an integer of more than 128 bits")
                stack.append(value)
            elif name in _LEAVES:
                stack.append(value)
            elif name == "MARK":
                stack.append(_MARK)
            elif name in _TUPLES:
                stack.append(Tuple.of(_popped(stack, _TUPLES[name])))
            elif name == "TUPLE":
                stack.append(Tuple.of(_to_mark(stack)))
            elif name in ("EMPTY_LIST", "LIST"):
                stack.append([] if name == "EMPTY_LIST" else _to_mark(stack))
            elif name in ("APPEND", "APPENDS"):
                values = [stack.pop()] if name == "APPEND" else _to_mark(stack)
                _must_be(stack[-1], list).extend(values)
            elif name in ("EMPTY_DICT", "DICT"):
                stack.append(_fill({}, [] if name == "EMPTY_DICT" else _to_mark(stack)))
            elif name in ("SETITEM", "SETITEMS"):
                values = _popped(stack, 2) if name == "SETITEM" else _to_mark(stack)
                _fill(_must_be(stack[-1], dict), values)
            elif name in ("GLOBAL", "STACK_GLOBAL"):
                module, _, called = value.partition(" ") if name == "GLOBAL" else (stack.pop(-2), "", stack.pop())
                stack.append(_Named(self._find(_must_be(module, str), _must_be(called, str))))
            elif name == "REDUCE":
                called, arguments = _popped(stack, 2)
                stack.append(_must_be(called, _Named).stand_in(*_must_be(arguments, tuple)))
            elif name == "BUILD":
                state = stack.pop()
                if not hasattr(stack[-1], "build"):
                    raise PickleRefusedError("gives a state to what has none")
                stack[-1].build(state)
            elif name == "BINPERSID" and self._persistent is not None:
                stack.append(self._persistent(stack.pop()))
            elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
                memo[value] = stack[-1]
            elif name == "MEMOIZE":
                memo[len(memo)] = stack[-1]
            elif name in ("GET", "BINGET", "LONG_BINGET"):
                stack.append(memo[value])
            elif name not in ("PROTO", "FRAME"):
                raise PickleRefusedError(f"takes the step {name}, which data have no need of")
        raise PickleRefusedError("breaks off")


class _Named:
    """What a pickle calls by name, apart from the objects that come of the call."""

    def __init__(self, stand_in: Callable[..., Any]):
        self.stand_in = stand_in


def _popped(stack: list[Any], count: int) -> list[Any]:
    if count > len(stack):
        raise PickleRefusedError("takes more than there is")
    values = stack[len(stack) - count :]
    del stack[len(stack) - count :]
    return values


def _to_mark(stack: list[Any]) -> list[Any]:
    values: list[Any] = []
    while (value := stack.pop()) is not _MARK:
        values.append(value)
    return values[::-1]


def _fill(target: dict, values: list[Any]) -> dict:
    for key, value in zip(values[::2], values[1::2], strict=True):
        if not isinstance(key, str | int):
            raise PickleRefusedError("has a key that is no name")
        target[key] = value
    return target


def _must_be(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise PickleRefusedError(f"has a {type(value).__name__.lstrip('_').lower()} where it needs another object")
    return value
