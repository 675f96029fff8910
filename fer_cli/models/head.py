"""The head of the embedding models: linear layers with ReLU between, from an embedding to the classes."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

import torch
from msgspec import Meta
from torch import nn

#: The note's layers.
HIDDEN_SIZES = (256, 128, 64, 32)
#: A layer's width, and the widths of a head's layers, as a stored configuration may have them.
Width = Annotated[int, Meta(ge=1, le=65536)]
HiddenSizes = Annotated[list[Width], Meta(max_length=32)]


def make_head(width: int, hidden_sizes: Sequence[int], classes: int) -> nn.Sequential:
    """``width`` → ``hidden_sizes`` → ``classes``, with ReLU between."""
    widths = [width, *hidden_sizes]
    layers: list[nn.Module] = []
    for inward, outward in pairwise(widths):
        layers += [nn.Linear(inward, outward), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], classes))


@torch.no_grad()
def initialise(module: nn.Module) -> None:
    """He's initialisation of a linear layer; other layers are left as they are.

    torch's own shrinks what passes through five layers with ReLU to next to nothing, and a head of such does not begin
    to learn.
    """
    if isinstance(module, nn.Linear):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.zeros_(module.bias)
