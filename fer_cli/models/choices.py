"""What a person can choose of a model, by name; importable without torch."""

from typing import Literal, get_args

Backbone = Literal["mobilenet_v3_large", "mobilenet_v3_small"]
BACKBONES: tuple[str, ...] = get_args(Backbone)

#: What the head sees: the difference of the embeddings beside the target's, or one of the two.
Features = Literal["both", "difference", "target"]
FEATURES: tuple[str, ...] = get_args(Features)
