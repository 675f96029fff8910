"""Augmentation of training pictures."""

from torchvision.transforms import v2


def augmentation(name: str, size: int) -> v2.Transform:
    """The augmentation called ``name`` of N×3×``size``×``size`` uint8 pictures: ``none``, ``light`` or ``paper``."""
    return {"none": v2.Identity, "light": _light, "paper": lambda: _paper(size)}[name]()


def _light() -> v2.Transform:
    """Small changes that leave identity and expression alone: mirroring, tilt, shift, scale, light, contrast.

    They keep the network from memorising what misalignment and lighting remain in the crops.
    """
    return v2.Compose(
        [
            v2.RandomHorizontalFlip(),
            v2.RandomAffine(4, translate=(0.03, 0.03), scale=(0.95, 1.05), interpolation=v2.InterpolationMode.BILINEAR),
            v2.ColorJitter(brightness=0.2, contrast=0.2),
        ]
    )


def _paper(size: int) -> v2.Transform:
    """As ViT-SE's author: moved by up to 16 pixels of 224, mirrored, half of them grey, jittered, a part cut out."""
    return v2.Compose(
        [
            # The author resizes to 256 pixels and crops 224, at random in training and at the centre in evaluation, so
            # that the face has one scale in both. Here evaluation sees the whole crop, which is cut around the face
            # already: training moves it as far as the author's does, and leaves its scale alone.
            v2.RandomCrop(size, padding=round(size * 16 / 224), padding_mode="reflect"),
            v2.RandomHorizontalFlip(),
            v2.RandomGrayscale(0.5),
            v2.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4),
            v2.RandomErasing(),
        ]
    )
