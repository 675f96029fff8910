import pickle

import cv2
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from fer_cli.errors import ModelError
from fer_cli.faces.align import FIVE_POINTS, FIVE_SIDE, align_five
from fer_cli.models import sface
from fer_cli.models.loading import fingerprint
from fer_cli.models.sface import PREPROCESSING, SFace, import_sface
from fer_cli.models.weights import digest, find
from tests.made import sface_graph


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def file(tmp_path):
    return sface_graph(tmp_path / "made.onnx")


def landmarks(turn: float, scale: float, shift: tuple[float, float], noise: float = 0.0) -> np.ndarray:
    """5×2: the template's points turned, scaled and moved, and each a little out of place."""
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    points = (FIVE_POINTS - FIVE_POINTS.mean(axis=0)) @ rotation.T * scale + shift
    return points + noise * np.random.default_rng(0).standard_normal((5, 2))


@pytest.mark.parametrize(
    "points",
    [
        landmarks(0.0, 1.0, (56, 72)),
        landmarks(0.4, 1.7, (150, 120), noise=3.0),
        landmarks(-2.5, 0.6, (90, 140), noise=2.0),
        landmarks(0.1, 2.5, (20, 30), noise=4.0),
        # In profile, mirrored and on a line: no similarity fits well, and OpenCV's is taken all the same.
        landmarks(0.0, 1.0, (100, 100)) * (0.2, 1) + (80, 0),
        landmarks(0.3, 1.0, (100, 100)) * (-1, 1) + (220, 0),
        np.array([[60, 60], [100, 60], [80, 60], [70, 60], [90, 60]], float),
    ],
)
def test_a_face_is_aligned_as_opencv_aligns_it(file, points):
    picture = np.random.default_rng(1).integers(0, 256, (200, 240, 3), dtype=np.uint8)
    picture = cv2.GaussianBlur(picture, (0, 0), 2)
    face = np.concatenate([[0, 0, 1, 1], points.ravel(), [1]]).astype(np.float32)[None]
    expected = cv2.FaceRecognizerSF.create(str(file), "").alignCrop(picture, face)
    assert np.abs(align_five(picture, points).astype(int) - expected).max() <= 1


def test_points_on_the_template_leave_a_crop_as_it_is():
    crop = np.random.default_rng(2).integers(0, 256, (FIVE_SIDE, FIVE_SIDE, 3), dtype=np.uint8)
    assert np.array_equal(align_five(crop, FIVE_POINTS), crop)


def test_embeddings_are_opencvs_of_the_same_face(file):
    aligned = np.random.default_rng(3).integers(0, 256, (2, FIVE_SIDE, FIVE_SIDE, 3), dtype=np.uint8)
    crops = torch.from_numpy(aligned).permute(0, 3, 1, 2)
    network = SFace(file)
    found = network(PREPROCESSING(crops))
    assert found.shape == (2, 128)
    recogniser = cv2.FaceRecognizerSF.create(str(file), "")
    for face, embedding in zip(aligned, found.numpy(), strict=True):
        # OpenCV takes blue, green, red.
        expected = recogniser.feature(np.ascontiguousarray(face[..., ::-1]))
        assert np.allclose(embedding, expected[0], rtol=1e-3, atol=1e-2)
    # The channels are not alike, so their order is seen.
    assert not torch.allclose(network(PREPROCESSING(crops.flip(1))), found, rtol=1e-2)


def test_a_graph_of_any_number_of_faces_does_too(file, tmp_path):
    crops = torch.rand(3, 3, FIVE_SIDE, FIVE_SIDE) * 255
    many = SFace(sface_graph(tmp_path / "many.onnx", batch="N"))
    assert torch.allclose(many(crops), SFace(file)(crops), rtol=1e-5)


def test_the_published_file_is_known_by_its_checksum(file, monkeypatch):
    assert "checksum" in SFace(file).about
    monkeypatch.setattr(sface, "SFACE_SHA256", digest(file))
    assert SFace(file).published
    assert SFace(file).about == ""


def test_files_are_told_apart_by_their_fingerprints(file, tmp_path):
    other = SFace(sface_graph(tmp_path / "other.onnx", seed=1))
    assert fingerprint(SFace(file)) == fingerprint(SFace(file)) != fingerprint(other)


@pytest.mark.parametrize(
    ("made", "said"),
    [({"side": 96}, r"1×3×96×96"), ({"width": 512}, r"outputs 1×512"), ({"inputs": 2}, r"1×3×112×112, 1×3×112×112")],
)
def test_a_graph_of_other_inputs_or_outputs_is_refused(tmp_path, made, said):
    with pytest.raises(ModelError, match=said) as refused:
        SFace(sface_graph(tmp_path / "other.onnx", **made))
    assert "fer weights fetch sface" in refused.value.hint


def test_numbers_that_are_not_finite_are_refused(tmp_path):
    with pytest.raises(ModelError, match="finite"):
        SFace(sface_graph(tmp_path / "broken.onnx", bias=np.nan))


@pytest.mark.parametrize("where", ["initializer", "attribute", "inner"])
def test_weights_in_another_file_are_not_read(file, tmp_path, where):
    (tmp_path / "secret").write_bytes(bytes(4 * 128))
    graph = onnx.load(file)
    tensor = numpy_helper.from_array(np.zeros(128, np.float32), "elsewhere")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="secret")
    constant = helper.make_node("Constant", [], ["elsewhere"], value=tensor)
    if where == "initializer":
        graph.graph.initializer.append(tensor)
    elif where == "attribute":
        graph.graph.node.append(constant)
    else:
        inner = helper.make_graph([constant], "inner", [], [])
        graph.graph.node.append(helper.make_node("If", ["data"], ["x"], then_branch=inner, else_branch=inner))
    (tmp_path / "outside.onnx").write_bytes(graph.SerializeToString())
    with pytest.raises(ModelError, match="other files"):
        SFace(tmp_path / "outside.onnx")


def test_what_is_no_graph_is_refused(file, tmp_path, monkeypatch):
    for name, content in (("noise", bytes(range(256)) * 8), ("cut", file.read_bytes()[:-2000]), ("empty", b"")):
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(content)
        with pytest.raises(ModelError, match=str(path)):
            SFace(path)
    with pytest.raises(ModelError, match="cannot be read"):
        SFace(tmp_path / "nowhere.onnx")
    monkeypatch.setattr(sface, "MAX_BYTES", 1000)
    with pytest.raises(ModelError, match="larger"):
        SFace(file)


def test_an_imported_file_is_found_and_a_wrong_one_leaves_nothing(file, tmp_path):
    weights = find("sface")
    with pytest.raises(ModelError):
        import_sface(sface_graph(tmp_path / "other.onnx", width=64))
    assert not weights.target().exists()
    assert import_sface(file) == weights.place() == weights.fetch()
    assert weights.place().read_bytes() == file.read_bytes()


def test_its_revision_and_checksum_are_pinned():
    weights = find("sface")
    assert (len(weights.revision), len(weights.sha256)) == (40, 64)


def test_it_can_be_sent_to_where_its_file_is_not(file):
    network = SFace(file)
    faces = torch.rand(2, 3, FIVE_SIDE, FIVE_SIDE) * 255
    content = pickle.dumps(network)
    file.unlink()
    sent = pickle.loads(content)  # noqa: S301
    assert torch.equal(sent(faces), network(faces))
    assert fingerprint(sent) == fingerprint(network)
