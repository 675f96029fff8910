"""Squeeze and excitation of an embedding.

J. Hu, L. Shen, G. Sun, *Squeeze-and-Excitation Networks*, CVPR 2018, arXiv 1709.01507. An embedding is squeezed
already, so only the excitation is left: two linear layers that give every number of the embedding a gate.
"""

from torch import Tensor, nn

from fer_cli.errors import ModelError
from fer_cli.models.choices import GATES

_ACTIVATIONS = {"sigmoid": nn.Sigmoid, "relu": nn.ReLU}


class SqueezeExcitation(nn.Module):
    """Scales each number of an embedding by a gate computed from all of them.

    ``gate`` is ``sigmoid``, as in the paper, whose gates lie between 0 and 1, or ``relu``, whose gates have no upper
    bound. ``reduction`` divides the width of the layer between. Input and output B×``width``.
    """

    def __init__(self, width: int, *, reduction: int = 4, gate: str = "sigmoid"):
        super().__init__()
        if gate not in GATES:
            raise ModelError(f"There is no gate '{gate}'.", hint=f"The gates are {', '.join(GATES)}.")
        if not 1 <= reduction <= width:
            raise ModelError(f"A gate cannot reduce {width} numbers {reduction} times.")
        self.squeeze = nn.Linear(width, width // reduction)
        self.excite = nn.Linear(width // reduction, width)
        self.activation = _ACTIVATIONS[gate]()

    def gates(self, embedding: Tensor) -> Tensor:
        """The gates of a batch of embeddings, B×``width``."""
        return self.activation(self.excite(self.squeeze(embedding).relu()))

    def forward(self, embedding: Tensor) -> Tensor:
        """The gated embeddings."""
        return embedding * self.gates(embedding)
