"""The networks, their configurations, and how they are saved and loaded.

>>> from fer_cli.models import DifferenceModel  # doctest: +SKIP
>>> model = DifferenceModel.from_pretrained("runs/difference-ckplus-fold0")  # doctest: +SKIP
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "Classifier": "classifier",
    "DifferenceConfig": "difference",
    "DifferenceModel": "difference",
    "DisentangledConfig": "disentangled",
    "DisentangledModel": "disentangled",
    "IdentityConfig": "identity",
    "IdentityModel": "identity",
    "Preprocessing": "preprocessing",
    "ViTSEConfig": "vit_se",
    "ViTSEModel": "vit_se",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    # Torch is imported when a model is asked for, so that the choices can be listed without it.
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
