"""Reading a pickle of numpy arrays without running anything that is in it.

A pickle is a program. This reader knows the four names that an array of numbers is pickled with, stands in for each
with something harmless, and refuses every other: not even numpy's own unpickling is reached by what the file says.
"""

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from fer_cli.errors import ModelError

#: The published identity weights are 165 MB.
MOST_BYTES = 1024**3
#: What an array may hold: floats and integers of these codes.
_CODES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")


class _Type:
    """Stands in for ``numpy.dtype``."""

    def __init__(self, code: str | bytes, *_: Any):
        self.code = code.decode("ascii") if isinstance(code, bytes) else code
        self.order = "="
        if self.code not in _CODES:
            raise pickle.UnpicklingError(f"holds values of the type {self.code!r}")

    def __setstate__(self, state: tuple) -> None:
        order = state[1].decode("ascii") if isinstance(state[1], bytes) else state[1]
        self.order = order if order in ("<", ">") else "="


class _Array:
    """Stands in for ``numpy.ndarray`` until its numbers are known."""

    values: np.ndarray | None = None

    def __setstate__(self, state: tuple) -> None:
        _, shape, kind, fortran, data = state
        kind = np.dtype(kind.order + kind.code)
        data = data.encode("latin1") if isinstance(data, str) else data
        if math.prod(shape) * kind.itemsize != len(data):
            raise pickle.UnpicklingError(f"says that {len(data)} bytes are an array of {shape}")
        values = np.frombuffer(data, kind).reshape(shape, order="F" if fortran else "C")
        self.values = values.astype(kind.newbyteorder("="))


def _bytes(text: str, encoding: str) -> bytes:
    """Stands in for ``_codecs.encode``, by which Python 3 pickles bytes in the older protocols."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"encodes text as {encoding!r}")
    return text.encode("latin1")


_STAND_INS = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    # Called with the array's class, a shape and a code that numpy itself overrides with the state that follows.
    ("numpy.core.multiarray", "_reconstruct"): lambda *_: _Array(),
    ("numpy._core.multiarray", "_reconstruct"): lambda *_: _Array(),
    ("_codecs", "encode"): _bytes,
    ("collections", "OrderedDict"): dict,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"asks for {module}.{name}, which is no array of numbers")
        return _STAND_INS[module, name]


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays by name in the pickle at ``path``, which Python 2 or 3 may have written.

    Raises :class:`~fer_cli.errors.ModelError` if it is no pickle of a dictionary of arrays, or would do anything else.
    """
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise ModelError(f"{path} is {size / 1e9:.1f} GB; more than {MOST_BYTES / 1e9:.1f} GB is not read.")
        with path.open("rb") as file:
            # The text of a pickle by Python 2 is bytes, which latin1 keeps as they are.
            found = _Reader(file, encoding="latin1").load()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}.") from error
    except ModelError:
        raise
    except Exception as error:  # whatever a file made to harm makes a reader raise
        raise ModelError(f"{path} was refused, and nothing in it was run: it {_said(error)}.") from error
    if not isinstance(found, dict) or not found:
        raise ModelError(f"{path} is no dictionary of arrays.")
    arrays = {}
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, _Array) or value.values is None:
            raise ModelError(f"{path} is no dictionary of arrays: see its entry {str(name)[:80]!r}.")
        arrays[name] = value.values
    return arrays


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, pickle.UnpicklingError) and str(error) else f"is no pickle ({error!r:.80})"
