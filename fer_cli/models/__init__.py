"""The networks, their configurations, and how they are saved and loaded.

>>> from fer_cli.models import DifferenceModel  # doctest: +SKIP
>>> model = DifferenceModel.from_pretrained("runs/difference-ckplus-fold0")  # doctest: +SKIP
"""

from importlib import import_module
from pkgutil import iter_modules
from typing import Any


def __getattr__(name: str) -> Any:
    # Torch is imported when a class is asked for, so that the choices can be listed without it.
    if name[0].isupper():
        for module in iter_modules(__path__, f"{__name__}."):
            found = vars(import_module(module.name)).get(name)
            if getattr(found, "__module__", "").startswith(__name__):
                return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
