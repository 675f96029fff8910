"""From a person's options on neutral faces to what a face is compared with."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fer_cli.errors import ModelError, PictureError, RunError, UsageError
from fer_cli.prediction.neutral import neutral_finder
from fer_cli.prediction.options import NeutralOptions
from fer_cli.prediction.pipeline import FaceExtractor, predict
from fer_cli.prediction.predictor import open_model
from fer_cli.prediction.results import Frame
from tests.made import CLASSES
from tests.prediction.runs import write_run


@pytest.fixture
def album(tmp_path) -> list[Frame]:
    frames = []
    for number in range(3):
        path = tmp_path / "album" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        frames.append(Frame(number, path))
    return frames


def predictions(tmp_path: Path, album: list[Frame], options: NeutralOptions, **settings):
    """The predictions by a paired run, and what was told on the way."""
    if not (tmp_path / "runs" / "run").exists():
        write_run(tmp_path / "runs" / "run", features="both")
    model = open_model(tmp_path / "runs" / "run", device="cpu")
    extract = FaceExtractor(model.classifier.preprocessing.face_crop, None)
    told: list[str] = []
    finder = neutral_finder(options, model, device="cpu", tell=told.append)
    finder.fit(settings.get("frames", iter(album)), extract)
    found = predict(album, extract, model.classifier, finder)
    return {result.frame.path: each for result in found for each in result.faces}, told


def test_auto_groups_the_faces_and_says_what_it_did(tmp_path, album):
    write_run(tmp_path / "runs" / "single", features="target", classes=("neutral", *CLASSES))
    found, told = predictions(tmp_path, album, NeutralOptions(identity_threshold=2.0))
    assert told[0].endswith("one person up to a distance of 2")
    assert told[1].endswith("runs/single")
    assert "1 people in 3 faces" in told[2]
    assert len(found) == 3
    served = {each.neutral for each in found.values()}
    assert served <= {str(frame.path) for frame in album} | {"mean"}
    for path, each in found.items():
        assert (each.neutral_confidence is None) == (each.neutral == "mean")
        assert each.neutral != str(path)


def test_without_a_classifier_a_neutral_face_is_found_and_has_no_confidence(tmp_path, album):
    found, told = predictions(tmp_path, album, NeutralOptions(identity_threshold=2.0))
    assert "no classifier here has a neutral class" in told[1]
    assert sorted(each.neutral == "mean" for each in found.values()) == [False, False, True]
    assert {each.neutral_confidence for each in found.values()} == {None}


def test_a_person_seen_once_is_compared_with_the_average(tmp_path, album):
    single, told = predictions(tmp_path, album[:1], NeutralOptions(), frames=iter(album[:1]))
    assert single[album[0].path].neutral == "mean"
    assert "1 seen once" in told[-1]
    mean, told = predictions(tmp_path, album[:1], NeutralOptions("mean"))
    assert mean == single
    assert told == ["neutral   the average of 3 people of the training"]


def test_pictures_that_come_once_are_compared_with_the_average_and_it_is_said(tmp_path, album):
    found, told = predictions(tmp_path, album, NeutralOptions(), frames=None)
    assert {each.neutral for each in found.values()} == {"mean"}
    assert "standard input" in told[0]


def test_a_picture_serves_everybody_but_itself(tmp_path, album):
    found, told = predictions(tmp_path, album, NeutralOptions(str(album[1].path)))
    assert list(found) == [album[0].path, album[2].path]
    assert {each.neutral for each in found.values()} == {str(album[1].path)}
    assert told == []
    with pytest.raises(PictureError, match=r"nobody\.png cannot be used: no such file"):
        predictions(tmp_path, album, NeutralOptions(str(tmp_path / "nobody.png")))


def test_the_chosen_picture_serves_as_if_it_had_been_named(tmp_path, album):
    found, _ = predictions(tmp_path, album, NeutralOptions(identity_threshold=2.0))
    path, by_auto = next((path, each) for path, each in found.items() if each.neutral != "mean")
    named, _ = predictions(tmp_path, album, NeutralOptions(by_auto.neutral))
    # The embedding waited as float16.
    assert by_auto.probabilities == pytest.approx(named[path].probabilities, abs=5e-3)


def test_a_run_that_knows_no_average_says_what_to_type(tmp_path, album):
    write_run(tmp_path / "runs" / "run", features="both", mean=False)
    with pytest.raises(RunError) as caught:
        predictions(tmp_path, album, NeutralOptions())
    assert "--neutral PICTURE" in caught.value.hint
    assert predictions(tmp_path, album, NeutralOptions(str(album[0].path)))[0]


def test_a_paired_model_that_is_no_run_has_the_average_in_its_folder(tmp_path, album):
    run = write_run(tmp_path / "runs" / "run", features="both")
    (run.path / "run.json").unlink()
    found, _ = predictions(tmp_path, album, NeutralOptions())
    assert {each.neutral for each in found.values()} == {"mean"}
    (run.path / "neutral.safetensors").unlink()
    with pytest.raises(RunError, match="no run that stores"):
        predictions(tmp_path, album, NeutralOptions())


def test_a_classifier_or_an_encoder_that_is_not_there_is_said_before_a_picture_is_read(tmp_path):
    def frames():
        raise AssertionError
        yield

    for options in (NeutralOptions(identity="nowhere"), NeutralOptions(neutral_classifier="nobody/nothing")):
        with pytest.raises(ModelError):
            predictions(tmp_path, [], options, frames=frames())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"identity_threshold": 3.0}, "--identity-threshold 3.0"),
        ({"identity_threshold": 0.0}, "--identity-threshold 0.0"),
        ({"neutral": "mean", "identity": "vggface2"}, "--identity is for --neutral auto"),
        ({"neutral": "a.jpg", "neutral_classifier": "runs/x"}, "--neutral is a.jpg"),
    ],
)
def test_what_cannot_be_meant_is_said(settings, said):
    with pytest.raises(UsageError, match=said):
        NeutralOptions(**settings)


def test_the_average_is_what_the_run_stored(tmp_path, album):
    found, _ = predictions(tmp_path, album, NeutralOptions("mean"))
    model = open_model(tmp_path / "runs" / "run", device="cpu", runtime="torch")
    crops = np.stack([each.crop for each in found.values()])
    expected = model.classifier.probabilities(
        torch.from_numpy(crops).permute(0, 3, 1, 2), neutral_embeddings=torch.zeros(3, 576)
    )
    for each, row in zip(found.values(), expected, strict=True):
        assert list(each.probabilities.values()) == pytest.approx(row, abs=1e-4)
