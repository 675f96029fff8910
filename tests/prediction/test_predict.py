import csv
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fer_cli.errors import FerError, PictureError, UsageError
from fer_cli.models import Classifier, Preprocessing
from fer_cli.prediction.predict import Missed, Prediction, Predictor
from fer_cli.prediction.table import CsvSink, columns
from tests.made import CLASSES, made_model


def classifier(features: str) -> Classifier:
    crop = {"size": 48, "margin": 0.15, "detector": "none"}
    return Classifier(made_model(features=features), Preprocessing(32, face_crop=crop), torch.device("cpu"))


@pytest.fixture
def alone():
    return Predictor(classifier("target"), detect=False)


@pytest.fixture
def paired():
    return Predictor(classifier("both"), detect=False)


@pytest.fixture
def faces(tmp_path) -> list[Path]:
    paths = []
    for number in range(3):
        path = tmp_path / f"{number}.png"
        pixels = np.random.default_rng(number).integers(0, 256, (60, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        paths.append(path)
    return paths


def test_every_picture_gives_a_row_in_order_with_every_classs_probability(alone, faces):
    predictions = list(alone.predict(faces))
    assert [prediction.path for prediction in predictions] == faces
    for prediction in predictions:
        assert tuple(prediction.probabilities) == CLASSES
        assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert prediction.confidence == max(prediction.probabilities.values())
        assert prediction.face is None


def test_more_faces_than_a_batch_come_out_as_they_would_alone(alone, faces):
    many = faces * 25
    together = [prediction.probabilities["surprise"] for prediction in alone.predict(many)]
    single = [next(alone.predict([path])).probabilities["surprise"] for path in faces]
    assert together == pytest.approx(single * 25, abs=1e-5)


def test_a_picture_that_cannot_be_used_is_missed_and_the_others_are_not(alone, faces, tmp_path):
    (tmp_path / "letter.jpg").write_text("dear")
    (tmp_path / "empty.jpg").touch()
    outcomes = list(alone.predict([faces[0], tmp_path / "letter.jpg", faces[1], tmp_path / "empty.jpg"]))
    assert [type(outcome) for outcome in outcomes] == [Prediction, Missed, Prediction, Missed]
    assert [outcome.reason for outcome in outcomes if isinstance(outcome, Missed)] == ["not a picture", "empty file"]


def test_a_paired_model_needs_a_neutral_picture_and_uses_it(paired, faces):
    with pytest.raises(UsageError) as caught:
        list(paired.predict(faces))
    assert "--neutral" in caught.value.mend
    by_one, by_other = (next(paired.predict([faces[2]], neutral)) for neutral in faces[:2])
    assert by_one.probabilities != by_other.probabilities


def test_a_picture_is_never_its_own_neutral(paired, faces, tmp_path):
    outcomes = list(paired.predict(faces, tmp_path / "." / "1.png"))
    assert [type(outcome) for outcome in outcomes] == [Prediction, Missed, Prediction]
    assert not outcomes[1].fault


def test_a_neutral_picture_that_cannot_be_used_is_said(paired, faces, tmp_path):
    with pytest.raises(PictureError, match=r"nowhere\.png cannot be used: no such file"):
        list(paired.predict(faces, tmp_path / "nowhere.png"))


def test_progress_counts_pictures(alone, faces):
    seen = []
    list(alone.predict(faces, progress=lambda stage, done, total, /, **facts: seen.append((stage, done, total))))
    assert seen == [("predicting", done, 3) for done in (1, 2, 3)]


def test_the_table_says_where_the_face_is_and_what_it_shows(alone, faces, tmp_path):
    with CsvSink(tmp_path / "out" / "p.csv", CLASSES) as sink:
        for prediction in alone.predict(faces):
            sink.write(prediction)
        assert not (tmp_path / "out" / "p.csv").exists()
    with (tmp_path / "out" / "p.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == columns(CLASSES)
    assert [row["file"] for row in rows] == list(map(str, faces))
    for row in rows:
        shares = {name: float(row[f"p_{name}"]) for name in CLASSES}
        assert row["label"] == max(shares, key=shares.get)
        assert float(row["confidence"]) == max(shares.values())


def test_a_table_that_fails_leaves_nothing(alone, faces, tmp_path):
    def fail():
        with CsvSink(tmp_path / "p.csv", CLASSES) as sink:
            sink.write(next(alone.predict(faces)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not list(tmp_path.glob("*.csv*"))
    assert not list(tmp_path.glob(".*"))


def test_a_table_may_go_to_a_stream(alone, faces):
    stream = io.StringIO()
    with CsvSink(stream, CLASSES) as sink:
        sink.write(next(alone.predict(faces)))
    assert len(stream.getvalue().splitlines()) == 2


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FerError, match="cannot be written"):
        CsvSink(tmp_path / "file" / "p.csv", CLASSES).__enter__()


def test_real_faces_are_found_cropped_and_given_a_box(shared, tmp_path):
    model = shared / "models" / "face_detection_yunet_2023mar.onnx"
    portrait = shared / "data" / "london" / "neutral" / "001.jpg"
    if not portrait.is_file():
        pytest.skip("no portraits beside the checkout")
    predictor = Predictor(classifier("target"), detector_model=model)
    blank = tmp_path / "blank.png"
    Image.new("RGB", (200, 200), "grey").save(blank)
    found, missed = predictor.predict([portrait, blank])
    x, y, width, height = found.face.box
    assert 0 < x < x + width < 512
    assert 0 < y < y + height < 512
    assert missed.reason == "no face found"
