"""Pictures that two datasets share are found, as the same file or made again, and people who are alike are not."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_cli.dataset import duplicates
from fer_cli.dataset.duplicates import (
    SharedPictures,
    correlations,
    describe,
    perceptual_hash,
    same_people,
    shared_pictures,
)
from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.errors import DatasetError
from fer_cli.faces.align import CropTemplate
from fer_cli.faces.crop import five_points
from fer_cli.synthetic.head import face_of, landmarks_in_pixels, paint
from fer_cli.synthetic.person import draw_identity, draw_order, draw_performance, draw_rest
from tests.made import made_dataset

PEOPLE = 24
MARGIN = 0.15


def drawn(number: int, template: CropTemplate) -> np.ndarray:
    """The crop of a drawn person, grey, at the apex of an expression."""
    rng = np.random.default_rng([number])
    person, rest, label = draw_identity(rng), draw_rest(rng, 0.0), draw_order(rng)[0]
    performance = draw_performance(label, rng)
    face = face_of(person, performance, rest, 1.0)
    pixels = paint(face, exposure=performance.exposure, noise=performance.noise, rng=rng)
    pixels = np.stack([pixels] * 3, axis=2) if pixels.ndim == 2 else pixels
    points = five_points(landmarks_in_pixels(face))
    return cv2.cvtColor(template.align(pixels, points), cv2.COLOR_RGB2GRAY)


@pytest.fixture(scope="module")
def faces() -> list[np.ndarray]:
    """A drawn face of each of 24 people, 64×64."""
    return [drawn(number, CropTemplate(64, MARGIN)) for number in range(PEOPLE)]


def dataset(folder: Path, pictures: dict[str, np.ndarray], *, margin: float = MARGIN, **card) -> PreparedDataset:
    """A dataset of these crops, as far as they are compared."""
    folder.mkdir(parents=True)
    for name, pixels in pictures.items():
        cv2.imwrite(str(folder / name), pixels)
    rows = pd.DataFrame({"file_name": list(pictures), "subject": pd.array([pd.NA] * len(pictures), dtype="string")})
    return PreparedDataset(folder, {"corpus": "files", "crop": {"margin": margin, "detector": "yunet"}, **card}, rows)


def encoded(pixels: np.ndarray, side: int, quality: int) -> np.ndarray:
    """Resized, and as JPEG of that quality leaves it."""
    method = cv2.INTER_AREA if side < len(pixels) else cv2.INTER_LINEAR
    code = cv2.imencode(".jpg", cv2.resize(pixels, (side, side), interpolation=method), [1, quality])[1]
    return cv2.imdecode(code, cv2.IMREAD_GRAYSCALE)


def aligned(pixels: np.ndarray, right: float, down: float, turn: float, scale: float) -> np.ndarray:
    """Moved by shares of the side, turned by degrees and scaled."""
    side = len(pixels)
    matrix = cv2.getRotationMatrix2D((side / 2, side / 2), turn, scale)
    matrix[:, 2] += right * side, down * side
    return cv2.warpAffine(pixels, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)


@pytest.fixture
def _protocol(monkeypatch):
    """These datasets have no protocol to compare."""
    monkeypatch.setattr(duplicates, "_people", lambda one, other: ())


@pytest.mark.usefixtures("_protocol")
def test_copies_of_a_twentieth_of_a_dataset_are_found_however_they_were_made_again(tmp_path, faces):
    first = dataset(tmp_path / "first", {f"{place}.png": face for place, face in enumerate(faces[:20])})
    others = {f"other-{place}.png": cv2.resize(face, (96, 96)) for place, face in enumerate(faces[20:])}
    copy = aligned(encoded(faces[7], 40, 60), 0.015, -0.01, 0.8, 1.01)
    second = dataset(tmp_path / "second", {**others, "copy.png": cv2.resize(copy, (96, 96))})
    [found] = shared_pictures([first, second])
    assert [(each.first, each.second, each.same_bytes) for each in found.pictures] == [("7.png", "copy.png", False)]
    assert found.counts == (1, 1)
    assert found.totals == (20, 5)
    assert duplicates.LEAST_CORRELATION <= found.pictures[0].correlation < 1
    assert describe([found]) == (
        "1 of 5 pictures of second are in first too (1 of its 20), 1 encoded, resized or aligned otherwise: copy.png "
        "as 7.png."
    )


@pytest.mark.usefixtures("_protocol")
def test_different_people_are_not_taken_for_each_other(tmp_path, faces):
    halves = [
        dataset(tmp_path / name, {f"{place}.png": face for place, face in enumerate(part)})
        for name, part in (("one", faces[: PEOPLE // 2]), ("two", faces[PEOPLE // 2 :]))
    ]
    assert shared_pictures(halves) == []
    assert describe([]) == ""


@pytest.mark.usefixtures("_protocol")
def test_equal_files_are_found_by_their_bytes_also_where_they_show_nothing(tmp_path, faces):
    flat = np.full((64, 64), 90, np.uint8)
    first = dataset(tmp_path / "first", {"a.png": faces[0], "flat.png": flat})
    second = dataset(
        tmp_path / "second", {"b.png": faces[0], "again.png": faces[0], "dark.png": flat, "l.png": flat + 9}
    )
    [found] = shared_pictures([first, second])
    assert {(each.first, each.second) for each in found.pictures} == {
        ("a.png", "b.png"),
        ("a.png", "again.png"),
        ("flat.png", "dark.png"),
    }
    assert all(each.same_bytes and each.correlation == 1 for each in found.pictures)
    assert (found.counts, found.by_bytes) == ((2, 3), 3)
    assert "3 as the same file" in describe([found])


@pytest.mark.usefixtures("_protocol")
def test_crops_with_another_margin_are_compared_by_the_part_that_both_show(tmp_path):
    wide = [drawn(number, CropTemplate(96, 0.4)) for number in range(6)]
    tight = [drawn(number, CropTemplate(64, 0.1)) for number in range(3)]
    first = dataset(tmp_path / "wide", {f"{place}.png": face for place, face in enumerate(wide)}, margin=0.4)
    second = dataset(tmp_path / "tight", {f"{place}.png": face for place, face in enumerate(tight)}, margin=0.1)
    [found] = shared_pictures([first, second])
    assert [(each.first, each.second) for each in found.pictures] == [(f"{place}.png",) * 2 for place in range(3)]


@pytest.mark.usefixtures("_protocol")
def test_every_two_of_several_datasets_are_compared_and_progress_is_told(tmp_path, faces):
    told = []
    parts = {"a": faces[0:3], "b": faces[3:6], "c": faces[2:5]}
    made = [
        dataset(tmp_path / name, {f"{place}.png": face for place, face in enumerate(part)})
        for name, part in parts.items()
    ]
    found = shared_pictures(made, progress=lambda *step: told.append(step))
    assert [(each.first, each.second, each.counts) for each in found] == [("a", "c", (1, 1)), ("b", "c", (2, 2))]
    assert told == [("reading pictures", done, 9) for done in range(1, 10)]


def test_people_are_compared_by_name_within_one_corpus_alone(tmp_path):
    datasets = [
        made_dataset(tmp_path / "a", subjects=5, corpus="made"),
        made_dataset(tmp_path / "b", subjects=3, corpus="made", margin=0.2),
        made_dataset(tmp_path / "c", subjects=3, corpus="another"),
    ]
    found = {(each.first, each.second): each.people for each in shared_pictures(datasets)}
    assert found[("a", "b")] == ("P01", "P02", "P03")
    # Of another corpus the same pictures are found, and names say nothing.
    assert found[("a", "c")] == ()
    assert "a and b share 3 people: P01, P02 …." in describe(
        [SharedPictures("a", "b", (20, 12), (), ("P01", "P02", "P03"))]
    )


def test_a_dataset_that_has_a_picture_as_two_peoples_is_told(tmp_path, faces):
    names = ["a.png", "b.png", "again.png", "copy.png", "frame.png"]
    pictures = dict(zip(names, [*faces[:2], faces[0], encoded(faces[1], 64, 80), faces[1]], strict=True))
    one = dataset(tmp_path / "one", pictures)
    one.metadata["subject"] = pd.array(["P1", "P2", "P3", None, "P2"], dtype="string")
    one.metadata["split"] = pd.array([None, None, None, "test", None], dtype="string")
    assert shared_pictures([one]) == []
    [found] = shared_pictures([one], ["mine"], within=True)
    # Not the two of P2, who is on one side of every fold.
    assert {(pair.first, pair.second) for pair in found.pictures} == {
        ("a.png", "again.png"),
        ("b.png", "copy.png"),
        ("copy.png", "frame.png"),
    }
    assert describe([found]).startswith("mine has 3 of its 5 pictures twice, as other people's: again.png as a.png")


def test_names_in_folders_of_anybodys_pictures_are_compared_where_the_folder_is_one(tmp_path):
    made = [made_dataset(tmp_path / name / "faces", subjects=3, corpus="files") for name in "abc"]
    for each, root in zip(made, ("/one", "/one", "/another"), strict=True):
        each.card["settings"]["root"] = root
    assert [same_people(made[0], each) for each in made] == [True, True, False]
    # Their folders have one name, and it is not theirs.
    found = {(each.first, each.second): each for each in shared_pictures(made, ["a", "b", "c"])}
    assert {pair: each.people for pair, each in found.items()} == {
        ("a", "b"): ("P01", "P02", "P03"),
        ("a", "c"): (),
        ("b", "c"): (),
    }
    # The same pictures are found whoever is said to be shown.
    assert {each.counts for each in found.values()} == {(12, 12)}


@pytest.mark.usefixtures("_protocol")
@pytest.mark.parametrize("content", [None, b"", b"no picture"])
def test_a_crop_that_cannot_be_read_is_named(tmp_path, faces, content):
    one = dataset(tmp_path / "one", {"a.png": faces[0]})
    path = one.path / "a.png"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"one/a.png cannot be read"):
        shared_pictures([one, one])


def test_copies_are_proposed_and_confirmed(faces):
    rng, found = np.random.default_rng(0), 0
    for number in range(60):
        face = faces[number % PEOPLE]
        moved = aligned(face, *rng.uniform(-0.012, 0.012, 2), rng.uniform(-0.7, 0.7), rng.uniform(0.99, 1.01))
        copy = encoded(moved, int(rng.integers(40, 97)), int(rng.integers(60, 96)))
        both = np.stack([duplicates.reduced(each) for each in (face, copy)]).astype(np.float32)
        first, second = perceptual_hash(both)
        proposed = np.bitwise_count(first ^ second).sum() <= duplicates.MOST_BITS
        confirmed = correlations(both, both, np.array([0]), np.array([1]))[0] >= duplicates.LEAST_CORRELATION
        found += proposed and confirmed
    # Of real faces 99.6 % and more are (benchmarks/duplicates.py).
    assert found >= 58


@given(gain=st.floats(0.4, 1.5), level=st.floats(-30, 30))
@settings(max_examples=30, deadline=None)
def test_neither_hash_nor_correlation_changes_with_brightness_and_contrast(faces, gain, level):
    grey = np.stack([duplicates.reduced(face) for face in faces[:4]]).astype(np.float32)
    other = gain * grey + level
    assert np.bitwise_count(perceptual_hash(grey) ^ perceptual_hash(other)).sum() <= 2
    np.testing.assert_allclose(correlations(grey, other, np.arange(4), np.arange(4)), 1, atol=1e-3)


def test_the_hash_is_the_sign_of_each_low_coefficient_about_their_median():
    rng = np.random.default_rng(0)
    grey = rng.uniform(0, 255, (3, 32, 32)).astype(np.float32)
    bits = np.unpackbits(perceptual_hash(grey).view(np.uint8).reshape(3, -1), axis=1).reshape(3, 16, 16)
    waves = np.cos(np.pi * np.outer(np.arange(16), np.arange(32) + 0.5) / 32)
    for picture, own in zip(grey, bits, strict=True):
        lowest = (waves @ picture.astype(float) @ waves.T).ravel()
        # The orthonormal transform gives the first row and column less weight.
        weights = np.outer(*[[np.sqrt(0.5), *np.ones(15)]] * 2).ravel()
        lowest = lowest * weights
        expected = lowest > np.median(lowest[1:])
        np.testing.assert_array_equal(own.ravel()[1:], expected[1:])


def test_pictures_in_several_pairs_are_correlated_as_they_are_alone(faces):
    grey = np.stack([duplicates.reduced(face) for face in faces[:5]]).astype(np.float32)
    moved = np.stack([duplicates.reduced(aligned(face, 0.01, -0.01, 0.5, 1.0)) for face in faces[:5]])
    first, second = np.array([0, 0, 3, 3, 1]), np.array([0, 2, 3, 0, 1])
    together = correlations(grey, moved.astype(np.float32), first, second)
    alone = [
        correlations(grey[[one]], moved[[other]].astype(np.float32), np.array([0]), np.array([0]))[0]
        for one, other in zip(first, second, strict=True)
    ]
    np.testing.assert_allclose(together, alone, rtol=1e-6)
    assert (together[[0, 2, 4]] >= duplicates.LEAST_CORRELATION).all()
    assert (together[[1, 3]] < duplicates.LEAST_CORRELATION).all()
    nothing = np.empty(0, int)
    assert len(correlations(grey, grey, nothing, nothing)) == 0
