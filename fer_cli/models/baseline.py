"""The baseline: histograms of oriented gradients of the grey face, and a linear support vector machine.

N. Dalal and B. Triggs, *Histograms of Oriented Gradients for Human Detection*, CVPR 2005, as
:func:`skimage.feature.hog` computes them. The machine is one linear layer.
"""

from typing import TYPE_CHECKING, Annotated, Any, NotRequired, TypedDict

import numpy as np
import torch
from msgspec import Meta
from torch import Tensor
from torchvision.transforms.v2 import functional
from transformers import PretrainedConfig
from transformers.modeling_outputs import ImageClassifierOutput

from fer_cli.errors import ModelError
from fer_cli.models import Features
from fer_cli.models.difference import DifferenceModel
from fer_cli.models.encoder import Encoder

_Count = Annotated[int, Meta(ge=1, le=256)]


class _Stored(TypedDict):
    image_size: Annotated[int, Meta(ge=1, le=4096)]
    features: Features
    orientations: _Count
    pixels_per_cell: _Count
    cells_per_block: _Count
    neutrals: NotRequired[Annotated[int, Meta(ge=1, le=1000)]]
    id2label: dict[str, str]


class BaselineConfig(PretrainedConfig):
    """Configuration of :class:`BaselineModel`.

    ``image_size`` is the side of the pictures. ``orientations``, ``pixels_per_cell`` and ``cells_per_block`` (the last
    two along a side) are those of HOG. ``features`` says what the machine sees: the HOG of the face (``target``), that
    less the neutral face's (``difference``), or ``both``. ``neutrals`` is how many neutral pictures of a person were
    averaged. The classes are ``id2label``, in order.
    """

    model_type = "fer-baseline"
    #: The fields that are read of a stored configuration.
    stored = _Stored
    # There is nothing to tune in HOG, and the machine is one layer on it.
    tune_encoder = False
    hidden_sizes = ()
    dropout = 0.0
    standardise = False

    def __init__(
        self,
        image_size: int = 64,
        features: str = "target",
        orientations: int = 8,
        pixels_per_cell: int = 8,
        cells_per_block: int = 2,
        neutrals: int = 1,
        **kwargs: Any,
    ):
        self.image_size = image_size
        self.features = features
        self.orientations = orientations
        self.pixels_per_cell = pixels_per_cell
        self.cells_per_block = cells_per_block
        self.neutrals = neutrals
        super().__init__(**kwargs)


class HOGEncoder(Encoder):
    """HOG of faces, with blocks normalised by L2-Hys: it has no weights, and computes on the CPU.

    Raises :class:`~fer_cli.errors.ModelError` where a picture has no room for a block.
    """

    mean = (0.0, 0.0, 0.0)
    std = (1.0, 1.0, 1.0)
    convolutional = False

    def __init__(self, image_size: int, orientations: int, pixels_per_cell: int, cells_per_block: int):
        super().__init__()
        self.image_size = image_size
        self.orientations = orientations
        self.pixels_per_cell = pixels_per_cell
        self.cells_per_block = cells_per_block
        #: Blocks along a side, and the numbers of each.
        self.blocks = image_size // pixels_per_cell - cells_per_block + 1
        self.block_width = cells_per_block**2 * orientations
        if self.blocks < 1:
            raise ModelError(
                f"A picture of {image_size} pixels has no block of {cells_per_block} × {cells_per_block} cells of "
                f"{pixels_per_cell} pixels.",
                hint="Type a larger --size, or a smaller --pixels-per-cell or --cells-per-block.",
            )
        self.width = self.blocks**2 * self.block_width

    def extra_repr(self) -> str:
        """The settings, which are all that it computes by."""
        return (
            f"image_size={self.image_size}, orientations={self.orientations}, "
            f"pixels_per_cell={self.pixels_per_cell}, cells_per_block={self.cells_per_block}"
        )

    def forward(self, pixel_values: Tensor) -> Tensor:
        """HOG, B×``width`` float32, of B×3×S×S colours from 0 to 1.

        Raises :class:`~fer_cli.errors.ModelError` for pictures of another size, and where it is to become a graph.
        """
        # Imported where it is needed, for it takes a while and other models do without.
        from skimage.feature import hog

        if torch.jit.is_tracing():
            raise ModelError("scikit-image computes its HOG, which is no part of a graph")
        if pixel_values.shape[-2:] != (self.image_size, self.image_size):
            raise ModelError(
                f"This model takes pictures of {self.image_size} pixels a side, and got "
                f"{'×'.join(map(str, pixel_values.shape[-2:]))}."
            )
        grey = functional.rgb_to_grayscale(pixel_values.detach().cpu().float())[:, 0].numpy()
        side, cells = (self.pixels_per_cell,) * 2, (self.cells_per_block,) * 2
        found = [
            hog(face, orientations=self.orientations, pixels_per_cell=side, cells_per_block=cells) for face in grey
        ]
        return torch.from_numpy(np.stack(found)).float().to(pixel_values.device)


class BaselineModel(DifferenceModel):
    """HOG and a linear support vector machine as a ``transformers`` model.

    Its logits are the machine's decision values (of two classes the one with either sign), so that the most probable
    class is the machine's own answer; probabilities are their softmax at the configuration's ``softmax_temperature``.

    >>> from fer_cli.models import BaselineModel  # doctest: +SKIP
    >>> model = BaselineModel.from_pretrained("runs/baseline-ckplus-fold0")  # doctest: +SKIP
    """

    config_class = BaselineConfig
    saliency_method = "evidence by block"
    if TYPE_CHECKING:
        encoder: HOGEncoder

    @staticmethod
    def make_encoder(config: Any) -> HOGEncoder:
        """HOG by the settings of ``config``."""
        return HOGEncoder(config.image_size, config.orientations, config.pixels_per_cell, config.cells_per_block)

    def forward(self, *faces: Tensor | None, **inputs: Tensor | None) -> ImageClassifierOutput:
        """Classify B faces as :meth:`DifferenceModel.forward` does, always in float32.

        In the half precision of inference on a GPU the answer could be another than the machine's.
        """
        with torch.autocast(self.device.type, enabled=False):
            return super().forward(*faces, **inputs)

    @torch.no_grad()
    def set_machine(self, coefficients: np.ndarray, intercepts: np.ndarray) -> None:
        """Take the ``coef_`` and ``intercept_`` of scikit-learn's linear machine for the classes, in order."""
        if len(coefficients) == 1:
            coefficients, intercepts = np.vstack([-coefficients, coefficients]), np.append(-intercepts, intercepts)
        self.output_layer.weight.copy_(torch.from_numpy(coefficients))
        self.output_layer.bias.copy_(torch.from_numpy(intercepts))

    @torch.no_grad()
    def saliency(self, pixels: Tensor, index: int, neutral: Tensor | None = None) -> Tensor:
        """The part of the decision value for class ``index`` that each block of HOG adds to it, h×w.

        Of ``both`` inputs a block's two parts are summed. Exact: the machine is linear.
        """
        seen = self.compared(*self._embed(pixels, neutral))[0]
        evidence = seen * self.output_layer.weight[index]
        blocks = self.encoder.blocks
        return evidence.reshape(-1, blocks, blocks, self.encoder.block_width).sum(dim=(0, 3)).relu()
