"""The networks, their configurations, the choices of their parts by name, and how they are saved and loaded.

>>> from fer_cli.models import DifferenceModel  # doctest: +SKIP
>>> model = DifferenceModel.from_pretrained("runs/difference-ckplus-fold0")  # doctest: +SKIP
"""

from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Literal, get_args

Backbone = Literal["mobilenet_v3_large", "mobilenet_v3_small"]
BACKBONES: tuple[str, ...] = get_args(Backbone)

#: ResNets for small pictures, which start from nothing or from a packaged model.
RESNET18_SMALL, RESNET10_SMALL = SMALL_RESNETS = "resnet18_small", "resnet10_small"

#: What the name of a network of timm begins with, as in ``timm/resnet18``.
TIMM = "timm/"

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

#: Where an encoder starts that starts from no file and no run: the packaged model, ImageNet (or what was published with
#: the network), nothing; or the best of these that is here.
FACES, IMAGENET, SCRATCH = "faces", "imagenet", "scratch"
BEST = "auto"

#: A network that tells people apart, as a model's configuration names it.
IdentityNetwork = Literal["vggface2", "mobilenet_v3_large", "mobilenet_v3_small"]

#: The published face-identity networks; and one trained on the subjects at hand; and none.
SFACE = "sface"
#: The digest of the file of SFace that was published.
SFACE_SHA256 = "0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79"
VGGFACE2, SUBJECTS, NO_IDENTITY = "vggface2", "subjects", "none"

#: The inference backend.
Runtime = Literal["auto", "torch", "onnxruntime", "int8"]
AUTO, TORCH, ONNXRUNTIME, INT8 = get_args(Runtime)
#: A model's graph in 8-bit integers, in its folder.
INT8_GRAPH = "model-int8.onnx"

#: The test-time augmentation that a model's configuration may store.
TestTime = Literal["none", "flip"]
FLIP: str = "flip"


def __getattr__(name: str) -> Any:
    # Torch is imported when a class is asked for, so that the choices can be listed without it.
    if name[0].isupper():
        for module in iter_modules(__path__, f"{__name__}."):
            found = vars(import_module(module.name)).get(name)
            if getattr(found, "__module__", "").startswith(__name__):
                return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
