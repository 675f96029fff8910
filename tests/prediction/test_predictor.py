import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from fer_cli import FacePrediction, Predictor
from fer_cli.errors import ModelError, PictureError, RunError
from tests.made import CLASSES
from tests.prediction.runs import write_run


@pytest.fixture
def single(tmp_path):
    return Predictor(write_run(tmp_path / "runs" / "single", features="target").path, device="cpu")


@pytest.fixture
def paired(tmp_path):
    return Predictor(write_run(tmp_path / "runs" / "paired", features="both").path, device="cpu")


@pytest.fixture
def pictures(tmp_path):
    paths = []
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (50, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.jpg")
        paths.append(tmp_path / f"{number}.jpg")
    return paths


def test_a_picture_gives_its_faces_with_every_classs_probability(single, pictures):
    [face] = single(pictures[0])
    assert isinstance(face, FacePrediction)
    assert tuple(face.probabilities) == CLASSES == single.classes
    assert sum(face.probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert face.confidence == max(face.probabilities.values()) == face.probabilities[face.label]
    assert face.box is None
    assert face.neutral == ""


@pytest.mark.parametrize("kind", ["single", "paired"])
def test_a_path_a_pillow_image_and_an_array_give_equal_results(kind, pictures, request):
    predictor = request.getfixturevalue(kind)
    path = pictures[0]
    with Image.open(path) as image:
        expected = predictor(path)
        assert predictor(str(path)) == expected
        assert predictor(image) == expected
        assert predictor(np.asarray(image)) == expected


def test_a_picture_that_lies_on_its_side_is_turned_whatever_holds_it(single, pictures, tmp_path):
    with Image.open(pictures[0]) as image:
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(tmp_path / "turned.png", exif=exif)
        upright = np.rot90(np.asarray(image), -1)
    with Image.open(tmp_path / "turned.png") as turned:
        assert single(tmp_path / "turned.png") == single(turned) == single(upright)


def test_several_pictures_give_a_list_each_in_order(single, pictures):
    together = single(pictures)
    assert [len(faces) for faces in together] == [1, 1, 1]
    assert together == [single(path) for path in pictures]
    assert single([]) == []


def test_a_neutral_face_may_be_a_path_an_image_an_array_or_the_average(paired, pictures):
    [average] = paired(pictures[0])
    assert average.neutral == "mean"
    assert paired(pictures[0], neutral="mean") == [average]
    [by_path] = paired(pictures[0], neutral=pictures[1])
    assert by_path.neutral == str(pictures[1])
    assert by_path.probabilities != average.probabilities
    with Image.open(pictures[1]) as image:
        [by_image] = paired(pictures[0], neutral=image)
        [by_array] = paired(pictures[0], neutral=np.asarray(image))
    assert by_image.probabilities == by_array.probabilities == by_path.probabilities


def test_the_neutral_face_of_the_constructor_is_that_of_the_calls(pictures, tmp_path):
    run = write_run(tmp_path / "runs" / "run", features="both")
    assert Predictor(run.path, device="cpu", neutral=pictures[1])(pictures[0])[0].neutral == str(pictures[1])


def test_a_picture_that_cannot_be_read_is_named(single, pictures, tmp_path):
    (tmp_path / "letter.jpg").write_text("dear")
    with pytest.raises(PictureError, match=r"letter\.jpg: not a picture"):
        single([pictures[0], tmp_path / "letter.jpg"])
    with pytest.raises(PictureError, match="picture 0: an array that is not uint8"):
        single(np.zeros((4, 4, 3)))


def test_a_picture_without_a_face_has_none(shared, tmp_path):
    portrait = shared / "data" / "london" / "neutral" / "001.jpg"
    if not portrait.is_file():
        pytest.skip("no portraits beside the checkout")
    run = write_run(tmp_path / "runs" / "run", features="target")
    config = run.path / "preprocessor_config.json"
    config.write_text(config.read_text().replace('"none"', '"auto"'))
    detector = shared / "models" / "face_detection_yunet_2023mar.onnx"
    predictor = Predictor(run.path, device="cpu", detector_model=detector)
    nothing, [face] = predictor([np.zeros((200, 200, 3), np.uint8), portrait])
    assert nothing == []
    assert face.box[2] > 50
    assert face.landmarks.shape == (5, 2)


def test_a_model_that_is_not_there_is_said(tmp_path):
    with pytest.raises(ModelError, match="cannot be downloaded"):
        Predictor("nobody/nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="not a run"):
        Predictor(tmp_path / "empty")


def test_importing_the_package_imports_no_torch():
    code = "import fer_cli, sys; fer_cli.__version__; assert not {'torch', 'numpy', 'typer'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError):
        __import__("fer_cli").Predicter  # noqa: B018


@pytest.mark.parametrize("features", ["target", "both"])
def test_people_are_remembered_from_call_to_call(features, pictures, tmp_path):
    run = write_run(tmp_path / "runs" / features, features=features)
    predictor = Predictor(run.path, device="cpu", people=tmp_path / "people")
    first = predictor(pictures)
    again = Predictor(run.path, device="cpu", people=tmp_path / "people")
    assert [face.person for [face] in first] == [again(path)[0].person for path in pictures]
    given = predictor(pictures[0], neutral=pictures[1]) if features == "both" else predictor(pictures[0])
    assert given[0].person == first[0][0].person
