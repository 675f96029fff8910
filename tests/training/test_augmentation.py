"""Each thing that augmentation varies, measured on a picture that shows it, over many draws; and what it leaves."""

import pytest
import torch

from fer_cli.training.augmentation import augmentation

SIZE, MIDDLE = 112, 56
DRAWS = 200


@pytest.mark.parametrize("name", ["light", "paper"])
def test_a_face_and_its_neutral_face_are_varied_alike(name):
    face = torch.randint(0, 256, (3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    vary = augmentation(name)
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
    assert len({augmentation(name)(face).numpy().tobytes() for _ in range(8)}) == different


def drawn(name: str, picture: torch.Tensor, times: int = DRAWS) -> torch.Tensor:
    """``times`` variations of a 3×S×S picture, as floats: times×3×S×S."""
    vary = augmentation(name)
    torch.manual_seed(0)
    return torch.cat([vary(picture[None].clone()) for _ in range(times)]).float()


def plain(*shades: int) -> torch.Tensor:
    """A picture of one colour."""
    return torch.tensor(shades, dtype=torch.uint8).view(3, 1, 1).expand(3, SIZE, SIZE).contiguous()


def spots(*places: tuple[int, int], side: int = 4) -> torch.Tensor:
    """White squares, their centres at the (x, y) ``places``, on black."""
    picture = plain(0, 0, 0)
    for x, y in places:
        picture[:, y - side // 2 : y + side // 2, x - side // 2 : x + side // 2] = 255
    return picture


def centre(pictures: torch.Tensor) -> torch.Tensor:
    """Where the light of each picture has its centre, in pixels: N×2 (x, y), NaN where none is left."""
    light = pictures.mean(dim=1)
    pixels = torch.arange(pictures.shape[-1]) + 0.5
    total = light.sum(dim=(1, 2))
    return (
        torch.stack([(light.sum(dim=1) * pixels).sum(dim=1), (light.sum(dim=2) * pixels).sum(dim=1)], 1)
        / total[:, None]
    )


def two_centres(name: str, first: tuple[int, int], second: tuple[int, int]) -> torch.Tensor:
    """Where two spots are in every variation, taken one at a time with the same draws: N×2 spots×2 (x, y)."""
    pictures = [drawn(name, spots(place)) for place in (first, second)]
    # What a cut-out hides, or a part of, is not measured.
    whole = torch.stack([(spot.amax(dim=1) > 0).sum(dim=(1, 2)) >= 16 for spot in pictures]).all(dim=0)
    return torch.stack([centre(spot[whole]) for spot in pictures], dim=1)


@pytest.mark.parametrize("name", ["light", "paper"])
def test_half_of_the_pictures_are_mirrored(name):
    mirrored = centre(drawn(name, spots((28, MIDDLE))))[:, 0]
    mirrored = mirrored[mirrored.isfinite()] > MIDDLE
    assert 0.4 < mirrored.float().mean() < 0.6


@pytest.mark.parametrize("name", ["light", "paper"])
def test_no_picture_is_upside_down(name):
    high = centre(drawn(name, spots((MIDDLE, 28))))[:, 1]
    assert (high[high.isfinite()] < MIDDLE).all()


def test_light_turns_a_picture_by_up_to_four_degrees_either_way():
    first, second = two_centres("light", (20, MIDDLE), (92, MIDDLE)).unbind(dim=1)
    across = second - first
    degrees = torch.rad2deg(torch.atan(across[:, 1] / across[:, 0]))
    assert degrees.abs().max() < 4.5
    assert degrees.max() > 3
    assert degrees.min() < -3


def test_light_shifts_a_picture_by_up_to_three_hundredths_both_ways():
    # The centre of the picture is where turning and scaling leave it.
    moved = (centre(drawn("light", spots((MIDDLE, MIDDLE)))) - MIDDLE) / SIZE
    assert moved.abs().max() < 0.035
    assert (moved.amax(dim=0) > 0.02).all()
    assert (moved.amin(dim=0) < -0.02).all()


def test_light_scales_a_picture_by_up_to_a_twentieth_either_way():
    first, second = two_centres("light", (20, MIDDLE), (92, MIDDLE)).unbind(dim=1)
    scale = (second - first).norm(dim=1) / 72
    assert 0.94 < scale.min() < 0.97
    assert 1.03 < scale.max() < 1.06


def test_paper_moves_a_face_and_leaves_it_the_scale_that_evaluation_sees():
    """As in evaluation, which resizes the crop: a training that saw faces larger would learn another task."""
    first, second = two_centres("paper", (28, 28), (84, 84)).unbind(dim=1)
    assert torch.allclose((second - first).abs(), torch.tensor(56.0), atol=1e-3)
    moved = first[:, 1] - 28
    assert torch.equal(moved, moved.round())
    # 16 pixels of 224, both ways.
    assert moved.min() == -8
    assert moved.max() == 8
    across = torch.where(first[:, 0] < MIDDLE, first[:, 0] - 28, 84 - first[:, 0])
    assert across.min() == -8
    assert across.max() == 8


def test_paper_fills_what_it_moves_in_with_the_picture_itself():
    pictures = drawn("paper", plain(200, 200, 200))
    shades = pictures.amin(dim=(1, 2, 3))
    # Nothing is black but what is cut out, which is no border.
    assert ((pictures == 0).any(dim=1).float().mean(dim=(1, 2)) < 0.35).all()
    assert (shades > 0).any()


@pytest.mark.parametrize(("name", "most"), [("light", 0.2), ("paper", 0.4)])
def test_pictures_are_lighter_and_darker(name, most):
    # On one grey alone contrast and saturation change nothing; black are a cut-out and the corners.
    pictures = drawn(name, plain(120, 120, 120))
    brightness = pictures.amax(dim=(1, 2, 3)) / 120
    assert brightness.min() == pytest.approx(1 - most, abs=0.05)
    assert brightness.max() == pytest.approx(1 + most, abs=0.05)


@pytest.mark.parametrize(("name", "most"), [("light", 0.2), ("paper", 0.4)])
def test_pictures_have_more_and_less_contrast(name, most):
    """Dark and light halves: brightness changes both in proportion, contrast their distance by the sum of the two."""
    picture = plain(60, 60, 60)
    picture[:, :MIDDLE] = 120
    pictures = drawn(name, picture)
    light, dark = pictures[:, 0, 20, MIDDLE], pictures[:, 0, 92, MIDDLE]
    shown = (light > 0) & (dark > 0)
    contrast = ((light - dark) / (light + dark))[shown] * 3
    assert contrast.min() < 1 - 0.7 * most
    assert contrast.max() > 1 + 0.7 * most


def colour(name: str) -> torch.Tensor:
    """How much colour pictures have, 1 as they came.

    Brightness and contrast change the distance of red from green in one place as they change that of two places'
    lightness; saturation changes the first alone.
    """
    picture = plain(50, 50, 50)
    picture[:, :MIDDLE] = plain(110, 70, 70)[:, :MIDDLE]
    pictures = drawn(name, picture)
    upper, lower = pictures[:, :, 20, MIDDLE], pictures[:, :, 92, MIDDLE]
    shown = (upper > 0).all(dim=1) & (lower > 0).all(dim=1)
    lightness = torch.tensor([0.2989, 0.587, 0.114])
    lightnesses = (upper - lower) @ lightness
    before = 40 / (torch.tensor([60.0, 20.0, 20.0]) @ lightness)
    return ((upper[:, 0] - upper[:, 1]) / lightnesses)[shown] / before


def test_half_of_papers_pictures_are_grey_and_the_others_of_more_or_less_colour():
    found = colour("paper")
    grey = found == 0
    assert 0.4 < grey.float().mean() < 0.6
    assert found[~grey].min() == pytest.approx(0.6, abs=0.1)
    assert found[~grey].max() == pytest.approx(1.4, abs=0.1)


def test_light_leaves_the_colours():
    assert colour("light").tolist() == pytest.approx([1.0] * DRAWS, abs=0.08)


def test_a_part_of_half_of_papers_pictures_is_cut_out():
    part = (drawn("paper", plain(200, 200, 200)) == 0).all(dim=1).float().mean(dim=(1, 2))
    cut = part > 0
    assert 0.4 < cut.float().mean() < 0.6
    assert part[cut].min() > 0.015
    assert 0.2 < part[cut].max() < 0.35
