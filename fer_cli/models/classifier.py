"""A trained model with its preprocessing, on a device: crops in, probabilities out."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from fer_cli.errors import ModelError
from fer_cli.models.base import TrainedModel
from fer_cli.models.device import choose_device
from fer_cli.models.loading import load_own
from fer_cli.models.preprocessing import Preprocessing


class Classifier:
    """A model in evaluation mode, with all that turns a crop into probabilities.

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
        self.model = model.to(device=device, memory_format=torch.channels_last).eval()
        self.preprocessing = preprocessing
        self.device = device
        #: What the logits are divided by before the softmax, as calibration on a validation split found it.
        self.temperature: float = model.temperature if isinstance(model, TrainedModel) else 1.0
        names = model.config.id2label
        #: The classes, in the order of the probabilities: by the names that the model carries, if not by others.
        self.classes = classes or tuple(names[index] for index in range(len(names)))

    @classmethod
    def load(cls, folder: Path | str, device: str = "auto") -> "Classifier":
        """Load the model that training saved in ``folder``.

        Raises :class:`~fer_cli.errors.ModelError` if there is no model of ours there, or it is not whole.
        """
        folder = Path(folder)
        return cls(load_own(folder), Preprocessing.load(folder), choose_device(device))

    @property
    def paired(self) -> bool:
        """Whether a face is compared with its person's neutral face."""
        return self.model.paired

    @torch.inference_mode()
    def embed(self, crops: Tensor) -> Tensor:
        """B×width embeddings by the model's own encoder, on the CPU, of B×3×H×W uint8 crops."""
        return self.model.encoder(self.preprocessing(crops).to(self.device)).float().cpu()

    def probabilities(
        self, crops: Tensor, neutrals: Tensor | None = None, *, neutral_embeddings: Tensor | None = None
    ) -> np.ndarray:
        """B×classes probabilities for B×3×H×W uint8 crops and, for a paired model, the same persons' neutral faces.

        Those are crops too, or what :meth:`embed` made of them. Raises ``ValueError`` where they are needed and absent.
        """
        if not self.paired:
            return self.classify({"pixel_values": self.preprocessing(crops)})
        if neutral_embeddings is None:
            if neutrals is None:
                raise ValueError("neutrals: this model compares a face with the person's neutral face")
            neutral_embeddings = self.embed(neutrals)
        return self.classify({"embeddings": self.embed(crops), "neutral_embeddings": neutral_embeddings})

    @torch.inference_mode()
    def classify(self, inputs: dict[str, Tensor]) -> np.ndarray:
        """B×classes probabilities for a batch of the model's own inputs, prepared already.

        Raises :class:`~fer_cli.errors.ModelError` where the model's weights are such that they are not finite.
        """
        return finite_probabilities(
            self.model(**{name: value.to(self.device) for name, value in inputs.items()}).logits / self.temperature
        )


def finite_probabilities(logits: Tensor) -> np.ndarray:
    """B×classes probabilities for B×classes logits; raises :class:`~fer_cli.errors.ModelError` for NaN and infinity."""
    probabilities = torch.softmax(logits.float(), dim=-1).cpu()
    if not torch.isfinite(probabilities).all():
        raise ModelError(
            "The model's answers are NaN or infinite: its weights are damaged.", hint="Train or fetch it again."
        )
    return probabilities.numpy()
