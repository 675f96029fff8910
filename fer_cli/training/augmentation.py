"""Augmentation of training pictures: whole batches, on the device that trains, each sample by draws of its own."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import v2

from fer_cli.errors import UsageError
from fer_cli.models.base import TrainedModel
from fer_cli.training.recipes.base import GradientRecipe

#: The shares of red, green and blue in lightness, ITU-R BT.601, as torchvision's.
_LIGHTNESS = (0.2989, 0.587, 0.114)
#: RandomErasing's area, as a share of the picture's, and its height by its width (Zhong et al., arXiv 1708.04896).
_ERASED, _ASPECT, _ATTEMPTS = (0.02, 0.33), (0.3, 3.3), 10
#: The sides, as shares of the picture's, that a softened picture is reduced to and enlarged from.
_SOFTER = (0.35, 0.5, 0.65, 0.8)
#: How many samples get the same operations of RandAugment, which works through its operations one by one.
_CHUNK = 8
#: Random numbers a sample: those of :meth:`Augmentation._geometry` and so on, by their places.
_FLIP, _TURN, _X, _Y, _SCALE, _BRIGHT, _CONTRAST, _COLOUR, _GREY, _SOFT, _LEVEL, _ERASE, _FIRST_BOX = range(13)
_DRAWS = _FIRST_BOX + 2 * _ATTEMPTS + 2


@dataclass(frozen=True)
class Augmentation:
    """Random changes of pictures, each drawn anew for each sample of a batch, from torch's global generator.

    Probabilities: ``flip`` left to right, ``grey``, ``soften`` (a lower resolution, or a slight blur), ``erasing`` of a
    rectangle. Reaches, drawn evenly either way: ``degrees``, ``translate`` as a share of the side (by whole pixels with
    ``whole``), ``scale``, ``brightness``, ``contrast``, ``saturation``. ``fill`` is what comes in at the border.
    ``randaugment`` is RandAugment's number of operations (Cubuk et al., arXiv 1909.13719), drawn for eight samples
    at a time.
    """

    flip: float = 0.0
    degrees: float = 0.0
    translate: float = 0.0
    whole: bool = False
    scale: float = 0.0
    fill: Literal["zeros", "reflection"] = "zeros"
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    grey: float = 0.0
    soften: float = 0.0
    erasing: float = 0.0
    randaugment: int = 0

    @property
    def is_none(self) -> bool:
        """Whether it leaves pictures as they are."""
        return self == Augmentation()

    def __call__(self, pictures: Tensor) -> Tensor:
        """The N×3×H×W uint8 ``pictures`` of one sample, all varied alike, as uint8."""
        varied = self._vary(pictures[None])[0]
        return varied if varied.dtype == torch.uint8 else (varied * 255).round().to(torch.uint8)

    def batch(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A batch with its pictures varied: ``pixel_values`` and others so called, B×3×H×W or B×K×3×H×W uint8.

        All pictures of a sample are varied alike: a difference between a face and its neutral face must come from the
        face. They come out as floats from 0 to 1, if anything but RandAugment changes them.
        """
        names = [name for name in inputs if name.endswith("pixel_values")]
        if self.is_none or not names:
            return dict(inputs)
        stacks = [inputs[name] if inputs[name].dim() == 5 else inputs[name][:, None] for name in names]
        varied = self._vary(torch.cat(stacks, dim=1) if len(stacks) > 1 else stacks[0])
        parts = varied.split([stack.shape[1] for stack in stacks], dim=1)
        return {**inputs, **{name: part.reshape(inputs[name].shape) for name, part in zip(names, parts, strict=True)}}

    def _vary(self, pictures: Tensor) -> Tensor:
        """B×K×3×H×W pictures, K of each sample."""
        samples, each, _, height, width = pictures.shape
        # Drawn on the processor, whatever the device: the numbers are the same everywhere, and nothing waits for them.
        drawn = torch.rand(samples, _DRAWS)
        if self.randaugment:
            pictures = self._by_randaugment(pictures)
        if replace(self, randaugment=0).is_none:
            return pictures
        moved = drawn.to(pictures.device, non_blocking=True).repeat_interleave(each, dim=0)
        flat = pictures.reshape(-1, 3, height, width).to(torch.float32).div_(255)
        if self.flip or self.degrees or self.translate or self.scale:
            grid = self._grid(moved, height, width)
            flat = functional.grid_sample(flat, grid, padding_mode=self.fill, align_corners=True)
        if self.saturation or self.grey:
            flat = self._recolour(flat, moved)
        if self.brightness or self.contrast:
            flat = self._relight(flat, moved)
        if self.soften:
            flat = self._softened(flat, drawn.repeat_interleave(each, dim=0))
        if self.erasing:
            flat = flat.masked_fill_(self._boxes(moved, height, width), 0)
        return flat.reshape(pictures.shape)

    def _by_randaugment(self, pictures: Tensor) -> Tensor:
        vary = v2.RandAugment(self.randaugment)
        return torch.cat([vary(chunk.flatten(0, 1)).unflatten(0, chunk.shape[:2]) for chunk in pictures.split(_CHUNK)])

    def _grid(self, drawn: Tensor, height: int, width: int) -> Tensor:
        """Where each pixel of a varied picture comes from, N×H×W×2, as ``grid_sample`` with aligned corners takes it.

        The picture is mirrored, turned and scaled about its centre, then moved.
        """
        angle = _either_way(drawn[:, _TURN], math.radians(self.degrees))
        scale = 1 + _either_way(drawn[:, _SCALE], self.scale)
        mirror = 1 - 2 * (drawn[:, _FLIP] < self.flip).float()
        along, down = angle.cos() / scale, angle.sin() / scale
        shifts = []
        for place, side in ((_X, width), (_Y, height)):
            if self.whole:
                reach = round(side * self.translate)
                shifts.append((drawn[:, place] * (2 * reach + 1)).floor() - reach)
            else:
                shifts.append(_either_way(drawn[:, place], self.translate * side))
        x = _centred(width, drawn.device)[None] - shifts[0][:, None]
        y = _centred(height, drawn.device)[None] - shifts[1][:, None]
        half_width, half_height = (width - 1) / 2, (height - 1) / 2
        from_x = (mirror * along / half_width)[:, None] * x, (mirror * down / half_width)[:, None] * y
        from_y = (-down / half_height)[:, None] * x, (along / half_height)[:, None] * y
        return torch.stack([across[:, None, :] + upright[:, :, None] for across, upright in (from_x, from_y)], dim=3)

    def _recolour(self, pictures: Tensor, drawn: Tensor) -> Tensor:
        """Pictures of more or less saturation, some of none."""
        saturation = 1 + _either_way(drawn[:, _COLOUR], self.saturation)
        saturation = saturation.masked_fill(drawn[:, _GREY] < self.grey, 0)[:, None, None, None]
        red, green, blue = _LIGHTNESS
        lightness = (pictures[:, :1] * red).add_(pictures[:, 1:2], alpha=green).add_(pictures[:, 2:], alpha=blue)
        return pictures.mul_(saturation).add_(lightness.mul_(1 - saturation)).clamp_(0, 1)

    def _relight(self, pictures: Tensor, drawn: Tensor) -> Tensor:
        """Lighter and darker pictures, and more or less contrast about their mean lightness."""
        brightness = 1 + _either_way(drawn[:, _BRIGHT], self.brightness)
        contrast = 1 + _either_way(drawn[:, _CONTRAST], self.contrast)
        means = pictures.mean(dim=(2, 3))
        lightness = sum(means[:, place] * share for place, share in enumerate(_LIGHTNESS))
        offset = brightness * (1 - contrast) * lightness
        return (
            pictures.mul_((brightness * contrast)[:, None, None, None]).add_(offset[:, None, None, None]).clamp_(0, 1)
        )

    def _softened(self, pictures: Tensor, drawn: Tensor) -> Tensor:
        """Some pictures reduced and enlarged again; ``drawn`` on the processor."""
        sides = pictures.shape[-2:]
        chosen = drawn[:, _SOFT] < self.soften
        level = (drawn[:, _LEVEL] * len(_SOFTER)).long()
        for place, share in enumerate(_SOFTER):
            rows = (chosen & (level == place)).nonzero()[:, 0].to(pictures.device, non_blocking=True)
            if len(rows):
                smaller = [max(1, round(side * share)) for side in sides]
                small = functional.interpolate(pictures[rows], smaller, mode="bilinear", antialias=True)
                pictures[rows] = functional.interpolate(small, sides, mode="bilinear", align_corners=False)
        return pictures

    def _boxes(self, drawn: Tensor, height: int, width: int) -> Tensor:
        """The erased pixels, N×1×H×W; of ten rectangles drawn, the first that fits into the picture."""
        boxes = drawn[:, _FIRST_BOX : _FIRST_BOX + 2 * _ATTEMPTS].unflatten(1, (_ATTEMPTS, 2))
        area = height * width * (_ERASED[0] + (_ERASED[1] - _ERASED[0]) * boxes[..., 0])
        low, high = map(math.log, _ASPECT)
        aspect = (low + (high - low) * boxes[..., 1]).exp()
        tall, wide = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()
        fits = (tall < height) & (wide < width)
        first = fits.float().argmax(dim=1, keepdim=True)
        erased = fits.gather(1, first)[:, 0] & (drawn[:, _ERASE] < self.erasing)
        ranges = []
        for side, extents, place in ((height, tall, -2), (width, wide, -1)):
            extent = extents.gather(1, first)[:, 0]
            start = (drawn[:, place] * (side - extent + 1)).floor()
            pixels = torch.arange(side, device=drawn.device)[None]
            ranges.append((pixels >= start[:, None]) & (pixels < (start + extent)[:, None]))
        rows, columns = ranges
        return (rows[:, :, None] & columns[:, None, :] & erased[:, None, None])[:, None]


#: Small changes that leave identity and expression alone: mirroring, tilt, shift, scale, light, contrast. They keep the
#: network from memorising what misalignment and lighting remain in the crops.
_LIGHT = Augmentation(flip=0.5, degrees=4, translate=0.03, scale=0.05, brightness=0.2, contrast=0.2)
#: As ViT-SE's author: moved by up to 16 pixels of 224, mirrored, half of them grey, jittered, a part cut out. The
#: author resizes to 256 pixels and crops 224, at random in training and at the centre in evaluation, so that the face
#: has one scale in both. Here evaluation sees the whole crop, which is cut around the face already: training moves it
#: as far as the author's does, and leaves its scale alone.
_PAPER = Augmentation(
    flip=0.5,
    translate=16 / 224,
    whole=True,
    fill="reflection",
    grey=0.5,
    brightness=0.4,
    contrast=0.4,
    saturation=0.4,
    erasing=0.5,
)
#: Pictures of unknown people, from anywhere: badly aligned, in any light, by any camera, faces half hidden.
_WILD = Augmentation(
    flip=0.5,
    degrees=12,
    translate=0.08,
    scale=0.15,
    fill="reflection",
    brightness=0.3,
    contrast=0.3,
    grey=0.1,
    soften=0.15,
    erasing=0.25,
)
_BY_NAME = {"none": Augmentation(), "light": _LIGHT, "paper": _PAPER, "wild": _WILD}


def augmentation(name: str, *, erasing: float | None = None, randaugment: int = 0) -> Augmentation:
    """The augmentation called ``name``: ``none``, ``light``, ``paper`` or ``wild``.

    ``erasing`` replaces its probability that a part is erased; ``randaugment`` is how many operations of RandAugment
    come before it.
    """
    chosen = replace(_BY_NAME[name], randaugment=randaugment)
    return chosen if erasing is None else replace(chosen, erasing=erasing)


def augmentation_of(recipe: GradientRecipe, model: TrainedModel) -> Augmentation:
    """The augmentation of ``recipe``; ``auto`` is light where ``model`` sees pictures in training, else none."""
    name = recipe.augment if recipe.augment != "auto" else ("none" if _sees_no_pictures(model) else "light")
    return augmentation(name, erasing=recipe.erasing, randaugment=recipe.randaugment)


def mixing_of(
    recipe: GradientRecipe, model: TrainedModel, extra: Mapping[str, Tensor]
) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None:
    """MixUp (Zhang et al., arXiv 1710.09412), CutMix (Yun et al., arXiv 1905.04899), or one of them drawn; else None.

    They take a batch's pictures and labels, B or B×C, and give mixtures with labels B×C. Raises
    :class:`~fer_cli.errors.UsageError` where ``model`` takes other inputs than pictures, ``extra`` ones among them.
    """
    kinds = [(v2.MixUp, recipe.mixup), (v2.CutMix, recipe.cutmix)]
    mixes = [kind(alpha=alpha, num_classes=model.config.num_labels) for kind, alpha in kinds if alpha]
    if not mixes:
        return None
    option = "--mixup" if recipe.mixup else "--cutmix"
    if _sees_no_pictures(model):
        raise UsageError(
            f"{option}: the encoder is frozen, and its embeddings are computed once, of pictures that are not mixed.",
            hint=f"Type --tune-encoder, or leave {option} out.",
        )
    if model.frozen or extra:
        raise UsageError(
            f"{option}: this model is also given who is shown, and a mixture of two pictures shows nobody.",
            hint=f"Leave {option} out.",
        )
    return mixes[0] if len(mixes) == 1 else v2.RandomChoice(mixes)


def _sees_no_pictures(model: TrainedModel) -> bool:
    return "embeddings" in model.frozen


def _either_way(drawn: Tensor, reach: float) -> Tensor:
    """Numbers from 0 to 1 as numbers from -reach to reach."""
    return (2 * drawn - 1) * reach


def _centred(side: int, device: torch.device) -> Tensor:
    """The pixels of a row or column, counted from the picture's centre."""
    return torch.arange(side, dtype=torch.float32, device=device) - (side - 1) / 2
