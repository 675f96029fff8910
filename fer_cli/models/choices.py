"""Choices of a model's parts by name; importable without torch."""

from typing import Literal, get_args

Backbone = Literal["mobilenet_v3_large", "mobilenet_v3_small"]
BACKBONES: tuple[str, ...] = get_args(Backbone)

#: The head's input: the difference of the embeddings and the target's, or one of the two.
Features = Literal["both", "difference", "target"]
FEATURES: tuple[str, ...] = get_args(Features)

#: The activation of the gates of squeeze and excitation.
Gate = Literal["sigmoid", "relu"]
GATES: tuple[str, ...] = get_args(Gate)

#: Which of a ViT's outputs stands for the picture.
Pooling = Literal["class-token", "pooler"]
POOLINGS: tuple[str, ...] = get_args(Pooling)

#: The way to keep identity out of the emotion encoder in stage 1.
Disentangling = Literal["concat", "adversarial", "orthogonal"]
DISENTANGLINGS: tuple[str, ...] = get_args(Disentangling)

#: The ViT of the published ViT-SE, and a small one for trials, which has no weights to fetch.
VIT_B16, TINY_VIT = "google/vit-base-patch16-224-in21k", "tiny"
#: The revision of it that is loaded, so that a run can be repeated.
VIT_B16_REVISION = "b4569560a39a0f1af58e3ddaf17facf20ab919b0"

#: Where an encoder starts that starts from no file and no run.
IMAGENET, SCRATCH = "imagenet", "scratch"

#: A network that tells people apart, as a model's configuration names it.
IdentityNetwork = Literal["vggface2", "mobilenet_v3_large", "mobilenet_v3_small"]

#: The published face-identity network; and one trained on the subjects at hand; and none.
VGGFACE2, SUBJECTS, NO_IDENTITY = "vggface2", "subjects", "none"

#: The inference backend.
Runtime = Literal["auto", "torch", "onnxruntime"]
AUTO, TORCH, ONNXRUNTIME = get_args(Runtime)

#: The test-time augmentation that a model's configuration may store.
TestTime = Literal["none", "flip"]
FLIP: str = "flip"
