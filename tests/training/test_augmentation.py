import pytest
import torch

from fer_cli.training.augmentation import augmentation


@pytest.mark.parametrize("name", ["light", "paper"])
def test_a_face_and_its_neutral_face_are_varied_alike(name):
    face = torch.randint(0, 256, (3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    vary = augmentation(name, 40)
    for seed in range(10):
        torch.manual_seed(seed)
        one, other = vary(torch.stack([face, face]))
        assert torch.equal(one, other)
        assert one.shape == face.shape
        assert one.dtype == torch.uint8


@pytest.mark.parametrize(("name", "different"), [("none", 1), ("light", 8), ("paper", 8)])
def test_pictures_are_varied_as_asked(name, different):
    face = torch.randint(0, 256, (1, 3, 40, 40), dtype=torch.uint8)
    torch.manual_seed(0)
    assert len({augmentation(name, 40)(face).numpy().tobytes() for _ in range(8)}) == different
