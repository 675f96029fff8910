"""fer: facial expression recognition from the command line, and from Python.

>>> from fer_cli import Predictor  # doctest: +SKIP
>>> [face] = Predictor("runs/difference-ckplus-fold0")("face.jpg")  # doctest: +SKIP
>>> face.label, face.confidence  # doctest: +SKIP
('happiness', 0.93)
"""

from typing import TYPE_CHECKING, Any

from fer_cli.files import provide_home

if TYPE_CHECKING:
    from fer_cli.prediction.predictor import Predictor
    from fer_cli.prediction.results import FacePrediction

__version__ = "0.2.0"
__all__ = ["FacePrediction", "Predictor"]

provide_home()


def __getattr__(name: str) -> Any:
    # Torch is imported when a predictor is asked for, so that the command line is quick.
    if name in __all__:
        from fer_cli.prediction import predictor

        return getattr(predictor, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
