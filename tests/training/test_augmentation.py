"""Each thing that augmentation varies, measured on a picture that shows it, over many draws; and what it leaves."""

from types import SimpleNamespace

import pytest
import torch

from fer_cli.errors import UsageError
from fer_cli.training.augmentation import Augmentation, augmentation, mixing_of
from fer_cli.training.recipes.difference import DifferenceRecipe

SIZE, MIDDLE = 112, 56
DRAWS = 200


@pytest.mark.parametrize("name", ["light", "paper", "wild"])
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


def noise(count: int, size: int = 24) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("name", ["light", "paper", "wild"])
def test_the_samples_of_a_batch_are_varied_each_by_itself(name):
    batch = {"pixel_values": noise(1).repeat(8, 1, 1, 1)}
    torch.manual_seed(0)
    varied = augmentation(name).batch(batch)["pixel_values"]
    assert varied.shape == batch["pixel_values"].shape
    assert 0 <= varied.min() < varied.max() <= 1
    assert len({picture.numpy().tobytes() for picture in varied}) == 8


@pytest.mark.parametrize("options", [{"name": "light"}, {"name": "paper"}, {"name": "wild", "randaugment": 2}])
def test_in_a_batch_a_face_is_varied_as_its_neutral_faces_are(options):
    faces = noise(10)
    batch = {
        "pixel_values": faces,
        "neutral_pixel_values": torch.stack([faces, faces], dim=1),
        "identity_embeddings": torch.ones(10, 4),
        "labels": torch.arange(10),
    }
    torch.manual_seed(0)
    varied = augmentation(**options).batch(batch)
    assert varied["neutral_pixel_values"].shape == batch["neutral_pixel_values"].shape
    for number in range(2):
        assert torch.equal(varied["pixel_values"], varied["neutral_pixel_values"][:, number])
    assert not torch.allclose(varied["pixel_values"], faces / 255)
    for name in ("identity_embeddings", "labels"):
        assert varied[name] is batch[name]


@pytest.mark.parametrize("name", ["none", "light", "paper", "wild"])
def test_embeddings_are_left_as_they_are(name):
    batch = {"embeddings": torch.ones(2, 4), "labels": torch.arange(2)}
    assert augmentation(name).batch(batch) == batch


@pytest.mark.parametrize("name", ["light", "paper", "wild"])
def test_a_batch_is_varied_the_same_from_the_same_random_numbers(name):
    torch.manual_seed(5)
    first = augmentation(name).batch({"pixel_values": noise(4)})["pixel_values"]
    torch.manual_seed(5)
    assert torch.equal(augmentation(name).batch({"pixel_values": noise(4)})["pixel_values"], first)


def test_none_leaves_the_very_bytes():
    batch = {"pixel_values": noise(4)}
    assert augmentation("none").batch(batch)["pixel_values"] is batch["pixel_values"]


def test_wild_turns_shifts_and_scales_as_far_as_it_says():
    vary = Augmentation(degrees=12, translate=0.08, scale=0.15)
    wild = augmentation("wild")
    assert (wild.degrees, wild.translate, wild.scale) == (12, 0.08, 0.15)
    pictures = torch.stack([spots((20, MIDDLE)), spots((92, MIDDLE))])
    torch.manual_seed(0)
    varied = vary.batch({"pixel_values": pictures[None].expand(DRAWS, -1, -1, -1, -1)})["pixel_values"]
    first, second = (centre(varied[:, place]) for place in range(2))
    across = second - first
    degrees = torch.rad2deg(torch.atan2(across[:, 1], across[:, 0]))
    assert (degrees.min(), degrees.max()) == (pytest.approx(-12, abs=1), pytest.approx(12, abs=1))
    scale = across.norm(dim=1) / 72
    assert (scale.min(), scale.max()) == (pytest.approx(0.85, abs=0.02), pytest.approx(1.15, abs=0.02))
    moved = ((first + second) / 2 - MIDDLE) / SIZE
    assert moved.abs().max() == pytest.approx(0.08, abs=0.01)


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_as_many_are_erased_as_asked(probability):
    white = torch.full((DRAWS, 3, 32, 32), 255, dtype=torch.uint8)
    torch.manual_seed(0)
    varied = augmentation("none", erasing=probability).batch({"pixel_values": white})["pixel_values"]
    part = (varied == 0).all(dim=1).float().mean(dim=(1, 2))
    assert (part > 0).float().mean() == pytest.approx(probability, abs=0.08)
    # What is erased is one rectangle.
    for picture in (varied[part > 0] == 0).all(dim=1)[:20]:
        rows, columns = picture.any(dim=1).sum(), picture.any(dim=0).sum()
        assert picture.sum() == rows * columns


def test_erasing_asked_for_replaces_an_augmentations_own():
    assert augmentation("wild").erasing > 0
    assert augmentation("wild", erasing=0.0).erasing == 0
    assert augmentation("light", erasing=0.7).erasing == 0.7


def test_some_pictures_are_softened_and_none_of_them_moved():
    checks = ((torch.arange(32)[:, None] + torch.arange(32)) % 2 * 255).to(torch.uint8).expand(DRAWS, 3, 32, 32)
    torch.manual_seed(0)
    varied = Augmentation(soften=0.25).batch({"pixel_values": checks})["pixel_values"]
    contrast = varied.std(dim=(1, 2, 3))
    softened = contrast < 0.4
    assert softened.float().mean() == pytest.approx(0.25, abs=0.08)
    assert torch.equal(varied[~softened], (checks / 255)[~softened])
    assert torch.allclose(varied.mean(dim=(1, 2, 3)), torch.tensor(0.5), atol=0.02)


def test_randaugment_varies_eight_samples_at_a_time_and_not_all_alike():
    batch = {"pixel_values": noise(1).repeat(64, 1, 1, 1)}
    torch.manual_seed(0)
    varied = augmentation("none", randaugment=2).batch(batch)["pixel_values"]
    assert varied.dtype == torch.uint8
    assert 4 < len({picture.numpy().tobytes() for picture in varied}) <= 8


#: What is asked of a model of three classes whose encoder is trained.
TRAINED = SimpleNamespace(frozen={}, config=SimpleNamespace(num_labels=3))


def test_either_mix_is_drawn_where_both_are_asked_for_and_labels_follow_the_pictures():
    """Pictures whose one shade is their class: what a mixed label says is how much of each the picture shows."""
    mix = mixing_of(DifferenceRecipe(features="target", mixup=1.0, cutmix=1.0), TRAINED, {})
    labels = torch.tensor([0, 1, 2, 1])
    pictures = torch.eye(3)[labels][:, :, None, None].expand(-1, -1, 16, 16)
    torch.manual_seed(0)
    kinds = set()
    for _ in range(20):
        mixed, soft = mix(pictures.clone(), labels)
        assert torch.allclose(mixed.mean(dim=(2, 3)), soft, atol=1e-5)
        assert torch.allclose(soft.sum(dim=1), torch.ones(4))
        kinds.add(bool((mixed == mixed[:, :, :1, :1]).all()))
    assert kinds == {True, False}


def test_votes_are_mixed_as_they_are():
    mix = mixing_of(DifferenceRecipe(features="target", mixup=1.0), TRAINED, {})
    votes = torch.tensor([[0.7, 0.2, 0.1], [0.0, 0.5, 0.5]])
    torch.manual_seed(0)
    mixed, soft = mix(votes[:, :, None, None].expand(-1, -1, 4, 4), votes)
    assert torch.allclose(mixed.mean(dim=(2, 3)), soft)


def test_a_model_that_is_told_who_is_shown_is_not_given_mixtures():
    recipe = DifferenceRecipe(features="target", cutmix=1.0)
    with pytest.raises(UsageError, match="who is shown"):
        mixing_of(recipe, TRAINED, {"subjects": torch.arange(3)})
    assert mixing_of(DifferenceRecipe(), TRAINED, {"subjects": torch.arange(3)}) is None
