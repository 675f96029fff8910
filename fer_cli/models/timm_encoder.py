"""timm's networks as encoders: any of its convolutional networks and vision transformers, by name.

R. Wightman, *PyTorch Image Models*, github.com/huggingface/pytorch-image-models. timm is imported where such an
encoder is made, for its import takes seconds. Only names that timm lists are built: none that make it download a
configuration or read a folder.
"""

import sys
from contextlib import suppress
from difflib import get_close_matches
from functools import cache
from typing import Any

from torch import Tensor, nn

from fer_cli.errors import ModelError
from fer_cli.models.choices import TIMM
from fer_cli.models.encoder import Encoder
from fer_cli.models.loading import first_line, hush, load_into


class TimmEncoder(Encoder):
    """The network ``name`` of timm without its classifier, for pictures of ``image_size`` where it must know.

    Normalisation and width are what timm says of the network. Raises :class:`~fer_cli.errors.ModelError` for a name
    that timm does not list, or a network that cannot be built or does not say how wide its embeddings are.
    """

    def __init__(self, name: str, image_size: int | None = None):
        super().__init__()
        require_listed(name)
        self.network = _create(name, image_size)
        # Networks with a layer after the pool give as many numbers as that has.
        width = getattr(self.network, "head_hidden_size", None) or getattr(self.network, "num_features", None)
        if not isinstance(width, int) or width < 1:
            raise ModelError(
                f"{TIMM}{name} does not say how wide its embeddings are (num_features is {width!r}).",
                hint="Type another --backbone.",
            )
        self.width = width
        about = pretrained_cfg(name)
        self.mean, self.std = tuple(map(float, about["mean"])), tuple(map(float, about["std"]))
        # Attention and windows are built for one size; ONNX Runtime gains nothing by them.
        self.convolutional = self.traceable = not about["fixed_input_size"]
        self.channels = 3 if getattr(self.network, "output_fmt", "NCHW") == "NHWC" else 1
        self._faster_statistics()

    def features(self, pixel_values: Tensor) -> Tensor:
        """The last feature maps, B×C×h×w (B×h×w×C of some), or the tokens of a transformer, B×N×C."""
        return self.network.forward_features(pixel_values)

    def pool(self, feature_map: Tensor) -> Tensor:
        """The embeddings, B×``width``."""
        return self.network.forward_head(feature_map, pre_logits=True)


@cache
def _names() -> list[str]:
    import timm

    return timm.list_models()


def require_listed(name: str) -> None:
    """Raise :class:`~fer_cli.errors.ModelError`, with the nearest names, where timm lists no network ``name``.

    It may end in the name of weights: ``resnet18.a1_in1k``.
    """
    import timm

    network, _, weights = name.partition(".")
    if network not in _names():
        near = get_close_matches(network[:100], _names(), n=3)
        raise ModelError(
            f"timm {timm.__version__} has no network called '{name[:100]}'.",
            hint=f"Type --backbone with {' or '.join(f'{TIMM}{each}' for each in near)}."
            if near
            else "timm.list_models() in Python lists the names.",
        )
    tags = [each for each in timm.list_models(network, pretrained=True) if each.partition(".")[0] == network]
    if weights and name not in tags:
        near = get_close_matches(name[:100], tags, n=3, cutoff=0)
        raise ModelError(
            f"timm has no weights called '{name[:100]}'.",
            hint=f"Type --backbone {TIMM}{network}"
            + (f", or with {' or '.join(f'{TIMM}{each}' for each in near)}." if near else "."),
        )


@cache
def pretrained_cfg(name: str) -> dict[str, Any]:
    """What timm says of a network: ``mean``, ``std``, ``input_size`` (3, H, W), ``fixed_input_size``, ``classifier``.

    Raises as :func:`require_listed` does.
    """
    require_listed(name)
    from timm.models import get_pretrained_cfg

    found = get_pretrained_cfg(name)
    return found.to_dict() if found is not None else {**_UNKNOWN}


#: Of a network that timm has no settings of.
_UNKNOWN = {
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
    "input_size": (3, 224, 224),
    "fixed_input_size": False,
    "classifier": None,
    "hf_hub_id": None,
}


def published_weights(name: str, image_size: int | None = None) -> dict[str, Tensor]:
    """The weights that timm publishes for ``name``, as :class:`TimmEncoder` names them.

    They are taken from the Hub's cache, or else from the Hub. Raises :class:`~fer_cli.errors.ModelError` where there
    are none, or they can be neither found nor downloaded.
    """
    require_listed(name)
    hush()
    place = pretrained_cfg(name).get("hf_hub_id")
    hint = (
        "Type --encoder PATH with a file of them (.safetensors or .pth, named as timm's), --encoder RUN with a trained "
        "run, or --encoder scratch to train without."
    )
    if not place and not pretrained_cfg(name).get("url"):
        raise ModelError(f"timm publishes no weights for {TIMM}{name}.", hint=hint)
    try:
        network = _create(name, image_size, pretrained=True)
    except ModelError:
        raise
    except Exception as error:  # the Hub's errors, the network's, timm's and the disk's
        raise ModelError(
            f"The weights of {TIMM}{name} cannot be had: {place or pretrained_cfg(name)['url']} was looked for "
            f"in the Hugging Face Hub's cache and on the Hub ({type(error).__name__}: {first_line(error)[:200]}).",
            hint=f"Type the line again where there is a network. {hint}",
        ) from error
    return {f"network.{key}": tensor for key, tensor in network.state_dict().items()}


def weights_of_file(name: str, tensors: dict[str, Tensor], source: str, image_size: int | None) -> dict[str, Tensor]:
    """The weights of a state dict named as timm's, without its classifier, as :class:`TimmEncoder` names them.

    Position embeddings of another size are resampled by timm's own filter. Raises
    :class:`~fer_cli.errors.ModelError`, naming what does not fit.
    """
    network = _create(name, image_size)
    own = network.state_dict()
    classifier = pretrained_cfg(name).get("classifier") or ()
    heads = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    kept = {
        key: tensor
        for key, tensor in tensors.items()
        if key in own or not any(key.startswith(f"{head}.") for head in heads)
    }
    convert = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if convert is not None and {key: tensor.shape for key, tensor in kept.items()} != {
        key: tensor.shape for key, tensor in own.items()
    }:
        # What a filter made for timm's own files raises on others, load_into says better.
        with suppress(Exception):
            kept = convert(kept, network)
    load_into(network, kept, source, hint="Type the --backbone that they were trained with.")
    return {f"network.{key}": tensor for key, tensor in network.state_dict().items()}


def _create(name: str, image_size: int | None, *, pretrained: bool = False) -> nn.Module:
    """The network without its classifier; raises :class:`~fer_cli.errors.ModelError` where timm cannot build it."""
    import timm

    settings: dict[str, Any] = {"pretrained": pretrained, "num_classes": 0}
    if pretrained_cfg(name)["fixed_input_size"] and image_size:
        settings["img_size"] = image_size
    try:
        return timm.create_model(name, **settings)
    except Exception as error:  # whatever a network raises that takes no size, or not this one
        if pretrained:
            raise
        raise ModelError(
            f"timm cannot build {name} for pictures of {image_size} pixels ({type(error).__name__}: "
            f"{first_line(error)[:200]}).",
            hint=f"Type --size {pretrained_cfg(name)['input_size'][-1]}, or another --backbone.",
        ) from error
