"""Pickles of arrays and tensors, interpreted step by step so that nothing in them is run and no reading is endless.

A pickle is a program. The interpreter knows the steps that dictionaries of arrays need and refuses every other; what a
pickle calls by name is answered by harmless stand-ins, never by numpy or torch. Steps, integers and the parts of a
tuple are counted: a few bytes can describe a tuple whose hash takes years, because each of its parts is the same tuple,
one level down.
"""

import math
import pickletools
import re
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np

from fer_cli.errors import ModelError
from fer_cli.files import open_regular, read_bytes

#: The pickle inside a .pth file names its tensors, and holds none of their numbers.
MAX_PICKLE = 64 * 1024**2
#: What the pickle of a state dict calls by name, besides the kinds of storage.
_STATE_DICT = {
    *(("collections", "OrderedDict"), ("torch", "Size"), ("torch.storage", "UntypedStorage")),
    *(("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_parameter")),
}
#: How many pickles a .pth file of torch before 1.6 begins with.
_LEGACY_PICKLES = 5

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


class Tuple(tuple[Any, ...]):
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
    pickle refers to outside the file.
    """

    def __init__(self, find: Callable[[str, str], Callable[..., Any]], persistent: Callable[[Any], Any] | None = None):
        self._find = find
        self._persistent = persistent

    def load(self, file: IO[bytes]) -> Any:
        """The object in the next pickle of ``file``.

        Raises :class:`PickleRefusedError` if it does anything else than to hold data, or whatever ``find`` raises.
        """
        stack: list[Any] = []
        memo: dict[int, Any] = {}
        value: Any
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


def _fill(target: dict[Any, Any], values: list[Any]) -> dict[Any, Any]:
    for key, value in zip(values[::2], values[1::2], strict=True):
        if not isinstance(key, str | int):
            raise PickleRefusedError("has a key that is no name")
        target[key] = value
    return target


def _must_be(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise PickleRefusedError(f"has a {type(value).__name__.lstrip('_').lower()} where it needs another object")
    return value


#: The published identity weights are 165 MB.
MOST_BYTES = 1024**3
#: What an array may hold: floats and integers of these codes.
_CODES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("ascii")
    if not isinstance(value, str):
        raise PickleRefusedError("describes an array's type by what is no text")
    return value


class _Type:
    """Stands in for ``numpy.dtype``."""

    def __init__(self, code: Any = None, *_: Any):
        self.code = _text(code)
        self.order = "="
        if self.code not in _CODES:
            raise PickleRefusedError(f"holds values of the type {self.code[:20]!r}")

    def build(self, state: Any) -> None:
        order = _text(state[1])
        self.order = order if order in ("<", ">") else "="


class _Array:
    """Stands in for ``numpy.ndarray`` until its numbers are known."""

    values: np.ndarray | None = None

    def __init__(self, encode: Callable[[str, str], bytes]):
        self._encode = encode

    def build(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise PickleRefusedError("describes an array in another way than numpy")
        _, shape, kind, fortran, data = state
        sized = isinstance(shape, tuple) and len(shape) <= 8 and all(type(size) is int and size >= 0 for size in shape)
        if not (sized and isinstance(kind, _Type) and isinstance(data, str | bytes)):
            raise PickleRefusedError("describes an array in another way than numpy")
        kind = np.dtype(kind.order + kind.code)
        # The text of a pickle by Python 2 is bytes, which latin1 keeps as they are.
        data = self._encode(data, "latin1") if isinstance(data, str) else data
        if math.prod(shape) * kind.itemsize != len(data):
            raise PickleRefusedError(f"says that {len(data)} bytes are an array of {tuple(shape)}")
        self.values = np.frombuffer(data, kind).reshape(shape, order="F" if fortran else "C")


class _StandIns:
    """What stands in for each name that an array is pickled with."""

    def __init__(self) -> None:
        self._encoded = 0

    def find(self, module: str, name: str) -> Callable[..., Any]:
        stand_ins: dict[tuple[str, str], Callable[..., Any]] = {
            # Arguments of the function below, called by none.
            ("numpy", "ndarray"): lambda *_: None,
            ("numpy", "dtype"): _Type,
            # Called with the array's class, a shape and a code that numpy itself overrides with the state that follows.
            ("numpy.core.multiarray", "_reconstruct"): lambda *_: _Array(self._encode),
            ("numpy._core.multiarray", "_reconstruct"): lambda *_: _Array(self._encode),
            ("_codecs", "encode"): self._encode,
            ("collections", "OrderedDict"): _ordered,
        }
        if (module, name) not in stand_ins:
            raise PickleRefusedError(f"asks for {module}.{name}, which is no array of numbers")
        return stand_ins[module, name]

    def _encode(self, text: Any, encoding: Any) -> bytes:
        """Stands in for ``_codecs.encode``, with which Python 3 pickles bytes in the older protocols."""
        if encoding != "latin1" or not isinstance(text, str):
            raise PickleRefusedError("encodes text in another way than pickle does")
        self._encoded += len(text)
        if self._encoded > MOST_BYTES:
            raise PickleRefusedError("says the same bytes again and again")
        return text.encode("latin1")


def _ordered(pairs: Any = ()) -> dict[str, Any]:
    """Stands in for ``collections.OrderedDict``."""
    if not all(isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[0], str) for pair in pairs):
        raise PickleRefusedError("has a key that is no name")
    return dict(pairs)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays by name in the pickle at ``path``, which Python 2 or 3 may have written.

    Raises :class:`~fer_cli.errors.ModelError` if it is no pickle of a dictionary of arrays, or would do anything else.
    """
    try:
        found = Interpreter(_StandIns().find).load(BytesIO(read_bytes(path, MOST_BYTES)))
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}.") from error
    except Exception as error:  # whatever a file made to harm makes a reader raise
        reason = str(error) if isinstance(error, PickleRefusedError) else f"is no pickle ({type(error).__name__})"
        raise ModelError(f"{path} was refused, and nothing in it was run: it {reason}.") from error
    if not isinstance(found, dict) or not found:
        raise ModelError(f"{path} is no dictionary of arrays.")
    arrays: dict[str, np.ndarray] = {}
    size = 0
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, _Array) or value.values is None:
            raise ModelError(f"{path} is no dictionary of arrays: see its entry {str(name)[:80]!r}.")
        size += value.values.nbytes
        if size > MOST_BYTES:
            raise ModelError(f"{path} holds more than {MOST_BYTES / 1e9:.1f} GB of numbers.")
        arrays[name] = value.values.astype(value.values.dtype.newbyteorder("="))
    return arrays


def require_plain_state_dict(path: Path) -> None:
    """Refuse a file of torch's whose pickle does anything that a state dict has no need of, before torch reads it.

    torch's reader runs no code either, but follows a few bytes that take it years.
    """
    # A storage is what the tensors of a state dict refer to outside of the pickle.
    interpreter = Interpreter(_state_dict_stand_in, lambda _: _Inert())
    with open_regular(path) as file:
        if not zipfile.is_zipfile(file):
            file.seek(0)
            for _ in range(_LEGACY_PICKLES):
                interpreter.load(file)
            return
        with zipfile.ZipFile(file) as archive:
            names = [entry.filename.casefold() for entry in archive.infolist()]
            if len(set(names)) < len(names) or any(entry.compress_type for entry in archive.infolist()):
                raise PickleRefusedError("is no file of torch's")
            [pickled] = [entry for entry in archive.infolist() if entry.filename.endswith("/data.pkl")]
            with archive.open(pickled) as content:
                interpreter.load(BytesIO(content.read(MAX_PICKLE)))


class _Inert(dict[str, Any]):
    """Stands in for whatever a state dict is made of."""

    def build(self, state: Any) -> None:
        pass


def _state_dict_stand_in(module: str, name: str) -> Any:
    if (module, name) in _STATE_DICT or (module == "torch" and re.fullmatch(r"\w+Storage", name)):
        return lambda *_: _Inert()
    raise PickleRefusedError(f"it asks for {module}.{name}, which no state dict needs")
