"""Reading a pickle of numpy arrays without running anything that is in it.

The reader knows the four names that an array of numbers is pickled with, stands in for each with something harmless,
and refuses every other: not even numpy's own unpickling is reached by what the file says.
"""

import math
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from fer_cli.errors import ModelError
from fer_cli.files import read_bytes
from fer_cli.models.pickle_data import Interpreter, PickleRefusedError

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
        known = {
            # Arguments of the function below, called by none.
            ("numpy", "ndarray"): lambda *_: None,
            ("numpy", "dtype"): _Type,
            # Called with the array's class, a shape and a code that numpy itself overrides with the state that follows.
            ("numpy.core.multiarray", "_reconstruct"): lambda *_: _Array(self._encode),
            ("numpy._core.multiarray", "_reconstruct"): lambda *_: _Array(self._encode),
            ("_codecs", "encode"): self._encode,
            ("collections", "OrderedDict"): _ordered,
        }
        if (module, name) not in known:
            raise PickleRefusedError(f"asks for {module}.{name}, which is no array of numbers")
        return known[module, name]

    def _encode(self, text: Any, encoding: Any) -> bytes:
        """Stands in for ``_codecs.encode``, by which Python 3 pickles bytes in the older protocols."""
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
        said = str(error) if isinstance(error, PickleRefusedError) else f"is no pickle ({type(error).__name__})"
        raise ModelError(f"{path} was refused, and nothing in it was run: it {said}.") from error
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
