"""A trained model with its preprocessing, on a device: crops in, probabilities out."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from fer_cli.errors import ModelError
from fer_cli.models import FLIP
from fer_cli.models.base import TrainedModel
from fer_cli.models.device import choose_device
from fer_cli.models.loading import load_own
from fer_cli.models.preprocessing import Preprocessing


class Classifier:
    """A model in evaluation mode, with all that turns a crop into probabilities.

    ``tta`` is the test-time augmentation, by default the one stored in the model's configuration: with ``flip`` the
    probabilities of a picture and of its mirror image are averaged.

    >>> classifier = Classifier.load("runs/difference-ckplus-fold0")  # doctest: +SKIP
    >>> classifier.probabilities(crops, neutrals).shape  # doctest: +SKIP
    (8, 7)
    """

    def __init__(
        self,
        model: PreTrainedModel,
        preprocessing: Preprocessing,
        device: torch.device,
        classes: tuple[str, ...] | None = None,
    ):
        model.to(device=device, memory_format=torch.channels_last).eval()  # type: ignore[call-arg]  # a wrapped method
        #: A :class:`TrainedModel`, or another that :func:`~fer_cli.models.hub.adopt` has answer as one does.
        self.model: Any = model
        self.preprocessing = preprocessing
        self.device = device
        #: What the logits are divided by before the softmax, as calibration on a validation split found it.
        self.temperature: float = model.temperature if isinstance(model, TrainedModel) else 1.0
        names: Mapping[Any, str] = model.config.id2label or {}
        #: The classes, in the order of the probabilities: by the names that the model carries, if not by others.
        self.classes = classes or tuple(names[index] for index in range(len(names)))
        self.tta: str | None = getattr(model.config, "tta", None)

    @classmethod
    def load(cls, folder: Path | str, device: str = "auto", *, tta: str | None = None) -> "Classifier":
        """Load the model that training saved in ``folder``; ``tta``, if given, replaces its test-time augmentation.

        Raises :class:`~fer_cli.errors.ModelError` if there is no model of ours there, or it is not whole.
        """
        folder = Path(folder)
        classifier = cls(load_own(folder), Preprocessing.load(folder), choose_device(device))
        classifier.tta = tta or classifier.tta
        return classifier

    @property
    def paired(self) -> bool:
        """Whether a face is compared with its person's neutral face."""
        return self.model.paired

    def embed(self, crops: Tensor) -> Tensor:
        """B×width embeddings by the model's own encoder, on the CPU, of B×3×H×W uint8 crops."""
        return self._encode(self.preprocessing(crops))

    def probabilities(
        self, crops: Tensor, neutrals: Tensor | None = None, *, neutral_embeddings: Tensor | None = None
    ) -> np.ndarray:
        """B×classes probabilities for B×3×H×W uint8 crops and, for a paired model, the same persons' neutral faces.

        Those are crops too, or what :meth:`embed` made of them. A mirrored face is compared with the neutral crop
        mirrored alike; an embedded neutral face is the same for both. Raises ``ValueError`` where they are needed and
        absent.
        """
        pixels = self.preprocessing(crops)
        if not self.paired:
            return self.classify({"pixel_values": pixels})
        if neutral_embeddings is None:
            if neutrals is None:
                raise ValueError("neutrals: this model compares a face with the person's neutral face")
            neutral_pixels = self.preprocessing(neutrals)
        shares = []
        for mirrored in (False, True) if self.tta == FLIP else (False,):
            neutral = neutral_embeddings
            if neutral is None:
                neutral = self._encode(_mirrored(neutral_pixels) if mirrored else neutral_pixels)
            target = self._encode(_mirrored(pixels) if mirrored else pixels)
            shares.append(self.classify({"embeddings": target, "neutral_embeddings": neutral}))
        return np.mean(shares, axis=0)

    @torch.inference_mode()
    def classify(self, inputs: dict[str, Tensor]) -> np.ndarray:
        """B×classes probabilities for a batch of the model's own inputs, prepared already.

        Raises :class:`~fer_cli.errors.ModelError` where the model's weights are such that they are not finite.
        """
        return finite_probabilities(self.logits({name: value.to(self.device) for name, value in inputs.items()}))

    def logits(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """B×classes logits for the model's own inputs on its device, at the temperature of the calibration.

        With ``tta`` they are the logarithms of the mean of two views' probabilities: pictures (``pixel_values`` and
        ``neutral_pixel_values``) are mirrored together; of embeddings there is one view only.
        """
        logits = self._forward(inputs)
        if self.tta != FLIP or "pixel_values" not in inputs:
            return logits / self.temperature
        mirrored = {
            name: _mirrored(value) if name.endswith("pixel_values") else value for name, value in inputs.items()
        }
        views = (view.float().log_softmax(dim=-1) for view in (logits, self._forward(mirrored)))
        return (torch.logaddexp(*views) - math.log(2)) / self.temperature

    def _forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        return self.model(**inputs).logits

    @torch.inference_mode()
    def _encode(self, pixels: Tensor) -> Tensor:
        return self.model.encoder(pixels.to(self.device)).float().cpu()


def _mirrored(pixels: Tensor) -> Tensor:
    return pixels.flip(-1)


def finite_probabilities(logits: Tensor) -> np.ndarray:
    """B×classes probabilities for B×classes logits; raises :class:`~fer_cli.errors.ModelError` for NaN and infinity."""
    probabilities = torch.softmax(logits.float(), dim=-1).cpu()
    if not torch.isfinite(probabilities).all():
        raise ModelError(
            "The model's answers are NaN or infinite: its weights are damaged.", hint="Train or fetch it again."
        )
    return probabilities.numpy()


#: The bounds between which a temperature is searched.
COLDEST, HOTTEST = 0.05, 20.0

_LEAST = 1e-12


def log_losses(probabilities: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The negative logarithm, N, of what N×C probabilities give the true classes."""
    return -np.log(np.maximum(probabilities[np.arange(len(truth)), truth], _LEAST))


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """N×C probabilities as the softmax would have given them with the logits divided by ``temperature``."""
    logs = np.log(np.maximum(np.asarray(probabilities, dtype=float), _LEAST)) / temperature
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def is_faultless(probabilities: np.ndarray, truth: np.ndarray) -> bool:
    """Whether each of N true class indices is the most probable of N×C ``probabilities``."""
    return bool((np.argmax(probabilities, axis=1) == truth).all())


def fit_temperature(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """The temperature between :data:`COLDEST` and :data:`HOTTEST` at which N true class indices are likeliest.

    ``probabilities`` are N×C. Where they make no mistake it is 1: the likelihood then grows without end as the
    temperature falls, and says nothing of the confidence that other faces deserve.
    """
    from scipy.optimize import minimize_scalar

    if is_faultless(probabilities, truth):
        return 1.0

    def loss(log_temperature: float) -> float:
        return float(log_losses(tempered(probabilities, np.exp(log_temperature)), truth).mean())

    found = minimize_scalar(loss, bounds=(np.log(COLDEST), np.log(HOTTEST)), method="bounded")
    return float(np.exp(found.x))
