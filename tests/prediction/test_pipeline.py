from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_cli.errors import UsageError
from fer_cli.faces.crop import Crop
from fer_cli.faces.detect import Face
from fer_cli.prediction.given_neutral import Neutral, NoNeutral
from fer_cli.prediction.look import Looker, Seen
from fer_cli.prediction.outcomes import Missed, Prediction
from fer_cli.prediction.pipeline import BATCH, look_at, predict
from fer_cli.prediction.shots import Shot
from tests.made import CLASSES
from tests.prediction.made import FACE_CROP, made_pictures


def shots(paths: list[Path]) -> list[Shot]:
    return [Shot(index, path) for index, path in enumerate(paths)]


def test_every_picture_gives_a_row_in_order_with_every_classs_probability(alone, looker, faces):
    outcomes = list(predict(shots(faces), looker, alone))
    assert [outcome.shot.path for outcome in outcomes] == faces
    for outcome in outcomes:
        (prediction,) = outcome
        assert isinstance(prediction, Prediction)
        assert tuple(prediction.probabilities) == CLASSES
        assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert prediction.confidence == max(prediction.probabilities.values())
        assert prediction.face is None
        assert prediction.neutral == ""
        assert prediction.crop.shape == (48, 48, 3)


def test_probabilities_do_not_depend_on_what_a_picture_is_predicted_with(alone, looker, tmp_path):
    paths = made_pictures(tmp_path, 2 * BATCH + 3)
    together = [next(iter(outcome)).probabilities for outcome in predict(shots(paths), looker, alone)]
    turned = [next(iter(outcome)).probabilities for outcome in predict(shots(paths[::-1]), looker, alone)]
    single = [next(iter(next(predict(shots([path]), looker, alone)))).probabilities for path in paths]
    # To the last bit: a prediction that is resumed, or divided, must not differ from one in one go.
    assert together == turned[::-1] == single
    assert len({tuple(shares.values()) for shares in together}) == len(paths)


def test_a_picture_that_cannot_be_used_is_missed_and_the_others_are_not(alone, looker, faces, tmp_path):
    (tmp_path / "letter.jpg").write_text("dear")
    (tmp_path / "empty.jpg").touch()
    paths = [faces[0], tmp_path / "letter.jpg", faces[1], tmp_path / "empty.jpg"]
    outcomes = [each for outcome in predict(shots(paths), looker, alone) for each in outcome]
    assert [type(each) for each in outcomes] == [Prediction, Missed, Prediction, Missed]
    assert [each.reason for each in outcomes if isinstance(each, Missed)] == ["not a picture", "empty file"]


class Crowd(Looker):
    """Sees as many faces as the name of a picture says."""

    def __init__(self):
        super().__init__(FACE_CROP, None)

    def __call__(self, shot: Shot) -> Seen:
        noise = np.random.default_rng(shot.index)
        crops = []
        for number in range(int(shot.path.stem)):
            pixels = noise.integers(0, 256, (48, 48, 3), dtype=np.uint8)
            crops.append(Crop(pixels, "detector", Face((number, 0, 9, 9), np.zeros((5, 2)), 0.9)))
        return Seen(shot, tuple(crops), () if crops else (Missed(shot.path, "no face found"),))


def test_a_crowd_of_fifty_nobody_and_one_each_get_their_own_rows(alone):
    counts = [50, 0, 1, 7, 0, 3, *[1] * 20]
    outcomes = list(predict([Shot(index, Path(str(count))) for index, count in enumerate(counts)], Crowd(), alone))
    assert [len(outcome.predictions) for outcome in outcomes] == counts
    assert [len(outcome.missed) for outcome in outcomes] == [int(not count) for count in counts]
    for outcome in outcomes:
        assert [each.number for each in outcome.predictions] == list(range(len(outcome.predictions)))
        assert [each.face.box[0] for each in outcome.predictions] == list(range(len(outcome.predictions)))


def test_a_paired_model_without_a_neutral_face_is_refused(paired, looker, faces):
    with pytest.raises(UsageError) as caught:
        list(predict(shots(faces), looker, paired))
    assert "--neutral" in caught.value.hint


def test_each_face_is_compared_with_the_neutral_face_that_its_source_gives(paired, looker, faces):
    crops = {path: looker.crop_of(path).pixels for path in faces}

    def source(shot, number, crop):
        assert number == 0
        if shot.index == 1:
            return NoNeutral("nobody knows them")
        return Neutral(f"neutral of {shot.index}", crops[faces[shot.index - 1]])

    first, second, third = predict(shots(faces), looker, paired, source)
    assert second.predictions == ()
    assert second.missed == (Missed(faces[1], "nobody knows them", number=0),)
    assert [each.predictions[0].neutral for each in (first, third)] == ["neutral of 0", "neutral of 2"]
    other = predict(shots(faces[:1]), looker, paired, lambda *_: Neutral("other", crops[faces[1]]))
    assert next(other).predictions[0].probabilities != first.predictions[0].probabilities


def test_a_model_that_compares_with_none_does_not_ask_for_one(alone, looker, faces):
    def source(*_):
        raise AssertionError

    assert len(list(predict(shots(faces), looker, alone, source))) == 3


class ByEmbedding:
    """A classifier that is told which kind of neutral faces it was given."""

    classes, paired, preprocessing = ("pixels", "embedding"), True, None

    def probabilities(self, crops, neutrals=None, neutral_embeddings=None):
        assert len(crops) == BATCH == len(neutrals if neutral_embeddings is None else neutral_embeddings)
        if neutral_embeddings is None:
            return np.stack([neutrals.float().mean((1, 2, 3)).numpy(), np.zeros(BATCH)], axis=1)
        return np.stack([np.zeros(BATCH), neutral_embeddings[:, 0].numpy()], axis=1)


def test_neutral_pixels_and_embeddings_may_be_mixed(looker, faces):
    def source(shot, number, crop):
        if shot.index == 1:
            return Neutral("mean", embedding=np.full(4, 7, np.float32))
        return Neutral("picture", np.full((48, 48, 3), shot.index + 1, np.uint8))

    outcomes = predict(shots(faces), looker, ByEmbedding(), source)
    assert [tuple(each.predictions[0].probabilities.values()) for each in outcomes] == [(1, 0), (0, 7), (3, 0)]


def test_looking_alone_gives_the_crops_in_order(looker, faces):
    seen = list(look_at(shots(faces), looker))
    assert [each.shot.path for each in seen] == faces
    assert all(len(each.crops) == 1 for each in seen)


@pytest.fixture
def portrait(shared) -> Path:
    path = shared / "data" / "london" / "neutral" / "001.jpg"
    if not path.is_file():
        pytest.skip("no portraits beside the checkout")
    return path


def test_real_faces_are_found_all_or_the_largest(alone, shared, portrait, tmp_path):
    model = shared / "models" / "face_detection_yunet_2023mar.onnx"
    group = Image.new("RGB", (1100, 520), "grey")
    face = Image.open(portrait)
    group.paste(face, (0, 4))
    group.paste(face.resize((256, 256)), (700, 100))
    group.save(tmp_path / "group.png")
    Image.new("RGB", (200, 200), "grey").save(tmp_path / "blank.png")
    paths = [tmp_path / "group.png", tmp_path / "blank.png"]
    both, none = predict(shots(paths), Looker(FACE_CROP, model), alone)
    widths = [each.face.box[2] for each in both.predictions]
    assert len(widths) == 2
    assert widths[0] > 1.5 * widths[1]
    assert none.missed == (Missed(paths[1], "no face found"),)
    (one,) = next(predict(shots(paths[:1]), Looker(FACE_CROP, model, faces="largest"), alone)).predictions
    assert one.face.box == both.predictions[0].face.box


def test_fifty_real_faces_give_fifty_rows(alone, shared, portrait, tmp_path):
    model = shared / "models" / "face_detection_yunet_2023mar.onnx"
    face = Image.open(portrait).resize((128, 128))
    crowd = Image.new("RGB", (1280, 640), "grey")
    for number in range(50):
        crowd.paste(face, (number % 10 * 128, number // 10 * 128))
    crowd.save(tmp_path / "crowd.png")
    (outcome,) = predict(shots([tmp_path / "crowd.png"]), Looker(FACE_CROP, model), alone)
    assert len(outcome.predictions) == 50
