from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from fer_cli.errors import UsageError
from fer_cli.faces.align import align_five
from fer_cli.faces.decode import decode
from fer_cli.prediction.neutral.given import FixedNeutral
from fer_cli.prediction.pipeline import BATCH, FaceExtractor, Neutral, extract_faces, predict, to_tensor
from fer_cli.prediction.results import FacePrediction, Frame, FrameResult, Skipped
from tests.made import CLASSES
from tests.prediction.made import FACE_CROP, made_pictures


def frames(paths: list[Path]) -> list[Frame]:
    return [Frame(index, path) for index, path in enumerate(paths)]


def test_every_picture_gives_a_row_in_order_with_every_classs_probability(alone, extract, faces):
    results = list(predict(frames(faces), extract, alone))
    assert [result.frame.path for result in results] == faces
    for result in results:
        (prediction,) = result.faces
        assert isinstance(prediction, FacePrediction)
        assert tuple(prediction.probabilities) == CLASSES
        assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert prediction.confidence == max(prediction.probabilities.values())
        assert prediction.box is None
        assert prediction.neutral == ""
        assert prediction.crop.shape == (48, 48, 3)


def test_probabilities_do_not_depend_on_what_a_picture_is_predicted_with(alone, extract, tmp_path):
    paths = made_pictures(tmp_path, 2 * BATCH + 3)
    together = [result.faces[0].probabilities for result in predict(frames(paths), extract, alone)]
    turned = [result.faces[0].probabilities for result in predict(frames(paths[::-1]), extract, alone)]
    single = [next(predict(frames([path]), extract, alone)).faces[0].probabilities for path in paths]
    # To the last bit: a prediction that is resumed, or divided, must not differ from one in one go.
    assert together == turned[::-1] == single
    assert len({tuple(shares.values()) for shares in together}) == len(paths)


@pytest.mark.parametrize("size", [(4, 4), (33, 57)])
def test_a_batch_has_each_crops_colours_as_planes(size):
    crops = [np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8) for number in range(3)]
    batch = to_tensor(crops)
    assert (batch.dtype, batch.is_contiguous()) == (torch.uint8, True)
    assert np.array_equal(batch.numpy(), np.stack([crop.transpose(2, 0, 1) for crop in crops]))


def test_a_picture_that_cannot_be_used_is_skipped_and_the_others_are_not(alone, extract, faces, tmp_path):
    (tmp_path / "letter.jpg").write_text("dear")
    (tmp_path / "empty.jpg").touch()
    paths = [faces[0], tmp_path / "letter.jpg", faces[1], tmp_path / "empty.jpg"]
    results = list(predict(frames(paths), extract, alone))
    assert [len(each.faces) for each in results] == [1, 0, 1, 0]
    assert [each.skipped for each in results] == [(), (Skipped("not a picture"),), (), (Skipped("empty file"),)]


class Crowd(FaceExtractor):
    """Sees as many faces as the name of a picture says."""

    def __init__(self):
        super().__init__(FACE_CROP, None)

    def __call__(self, frame: Frame) -> FrameResult:
        noise = np.random.default_rng(frame.index)
        faces = []
        for number in range(int(frame.path.stem)):
            pixels = noise.integers(0, 256, (48, 48, 3), dtype=np.uint8)
            faces.append(FacePrediction(number, box=(number, 0, 9, 9), landmarks=np.zeros((5, 2)), crop=pixels))
        return FrameResult(frame, tuple(faces), () if faces else (Skipped("no face found"),))


def test_a_crowd_of_fifty_nobody_and_one_each_get_their_own_rows(alone):
    counts = [50, 0, 1, 7, 0, 3, *[1] * 20]
    results = list(predict([Frame(index, Path(str(count))) for index, count in enumerate(counts)], Crowd(), alone))
    assert [len(result.faces) for result in results] == counts
    assert [len(result.skipped) for result in results] == [int(not count) for count in counts]
    for result in results:
        assert [each.number for each in result.faces] == list(range(len(result.faces)))
        assert [each.box[0] for each in result.faces] == list(range(len(result.faces)))


def test_a_paired_model_without_a_neutral_face_is_refused(paired, extract, faces):
    with pytest.raises(UsageError) as caught:
        list(predict(frames(faces), extract, paired))
    assert "--neutral" in caught.value.hint


def test_each_face_is_compared_with_the_neutral_face_that_its_source_gives(paired, extract, faces):
    crops = {path: extract.largest(path) for path in faces}

    def neutral_for(frame, face):
        assert face.number == 0
        if frame.index == 1:
            return Skipped("nobody knows them")
        return Neutral(f"neutral of {frame.index}", crops[faces[frame.index - 1]])

    finder = SimpleNamespace(neutral_for=neutral_for)
    first, second, third = predict(frames(faces), extract, paired, finder)
    assert second.faces == ()
    assert second.skipped == (Skipped("nobody knows them", face=0),)
    assert [each.faces[0].neutral for each in (first, third)] == ["neutral of 0", "neutral of 2"]
    fixed = FixedNeutral(Neutral("other", crops[faces[1]]))
    other = predict(frames(faces[:1]), extract, paired, fixed)
    assert next(other).faces[0].probabilities != first.faces[0].probabilities


def test_a_model_that_compares_with_none_does_not_ask_for_one(alone, extract, faces):
    def neutral_for(*_):
        raise AssertionError

    assert len(list(predict(frames(faces), extract, alone, SimpleNamespace(neutral_for=neutral_for)))) == 3


class ByEmbedding:
    """A classifier that is told which kind of neutral faces it was given."""

    classes, paired, preprocessing = ("pixels", "embedding"), True, None

    def probabilities(self, crops, neutrals=None, neutral_embeddings=None):
        assert len(crops) == BATCH == len(neutrals if neutral_embeddings is None else neutral_embeddings)
        if neutral_embeddings is None:
            return np.stack([neutrals.float().mean((1, 2, 3)).numpy(), np.zeros(BATCH)], axis=1)
        return np.stack([np.zeros(BATCH), neutral_embeddings[:, 0].numpy()], axis=1)


def test_neutral_pixels_and_embeddings_may_be_mixed(extract, faces):
    def neutral_for(frame, face):
        if frame.index == 1:
            return Neutral("mean", embedding=np.full(4, 7, np.float32))
        return Neutral("picture", np.full((48, 48, 3), frame.index + 1, np.uint8))

    results = predict(frames(faces), extract, ByEmbedding(), SimpleNamespace(neutral_for=neutral_for))
    assert [tuple(each.faces[0].probabilities.values()) for each in results] == [(1, 0), (0, 7), (3, 0)]


def test_extraction_alone_gives_the_crops_in_order(extract, faces):
    seen = list(extract_faces(frames(faces), extract))
    assert [each.frame.path for each in seen] == faces
    assert all(len(each.faces) == 1 for each in seen)


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
    both, none = predict(frames(paths), FaceExtractor(FACE_CROP, model), alone)
    widths = [each.box[2] for each in both.faces]
    assert len(widths) == 2
    assert widths[0] > 1.5 * widths[1]
    assert none.skipped == (Skipped("no face found"),)
    (one,) = next(predict(frames(paths[:1]), FaceExtractor(FACE_CROP, model, faces="largest"), alone)).faces
    assert one.box == both.faces[0].box


def test_an_identity_encoders_crop_is_aligned_from_the_picture_where_it_is_asked_for(shared, portrait, extract, faces):
    model = shared / "models" / "face_detection_yunet_2023mar.onnx"
    found = FaceExtractor(FACE_CROP, model)
    (plain,) = found(Frame(0, portrait)).faces
    (face,) = found.aligning()(Frame(0, portrait)).faces
    assert plain.aligned is None
    assert np.array_equal(face.aligned, align_five(decode(portrait), face.landmarks))
    assert face == plain
    assert np.array_equal(face.crop, plain.crop)
    # A crop without landmarks is only that.
    (cropped,) = extract.aligning()(Frame(0, faces[0])).faces
    assert cropped.aligned is None


def test_fifty_real_faces_give_fifty_rows(alone, shared, portrait, tmp_path):
    model = shared / "models" / "face_detection_yunet_2023mar.onnx"
    face = Image.open(portrait).resize((128, 128))
    crowd = Image.new("RGB", (1280, 640), "grey")
    for number in range(50):
        crowd.paste(face, (number % 10 * 128, number // 10 * 128))
    crowd.save(tmp_path / "crowd.png")
    (result,) = predict(frames([tmp_path / "crowd.png"]), FaceExtractor(FACE_CROP, model), alone)
    assert len(result.faces) == 50
