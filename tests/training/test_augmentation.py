import torch

from fer_cli.models import Preprocessing
from fer_cli.training.augmentation import Collator, augmentation


def test_a_face_and_its_neutral_face_are_varied_alike():
    face = torch.randint(0, 256, (3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    vary = augmentation()
    for seed in range(10):
        torch.manual_seed(seed)
        one, other = vary(torch.stack([face, face]))
        assert torch.equal(one, other)
        assert one.shape == face.shape
        assert one.dtype == torch.uint8


def test_pictures_are_varied():
    face = torch.randint(0, 256, (1, 3, 40, 40), dtype=torch.uint8)
    torch.manual_seed(0)
    assert len({augmentation()(face).numpy().tobytes() for _ in range(8)}) == 8


def test_a_batch_is_what_the_network_takes():
    samples = [
        {
            "pixel_values": torch.full((3, 16, 16), shade, dtype=torch.uint8),
            "neutral_pixel_values": torch.zeros((3, 16, 16), dtype=torch.uint8),
            "labels": shade,
        }
        for shade in (0, 1, 2)
    ]
    preprocessing = Preprocessing(16)
    batch = Collator(preprocessing)(samples)
    assert batch["labels"].tolist() == [0, 1, 2]
    assert torch.equal(batch["pixel_values"][2], preprocessing(samples[2]["pixel_values"][None])[0])
    assert torch.equal(batch["neutral_pixel_values"][2], batch["pixel_values"][0])
