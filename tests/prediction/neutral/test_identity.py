import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from sklearn.metrics import adjusted_rand_score

from fer_cli.embeddings.neutral import NeutralMean
from fer_cli.errors import ModelError
from fer_cli.models import Classifier, IdentityConfig, IdentityModel, Preprocessing
from fer_cli.models.disentangled import DisentangledConfig, DisentangledModel
from fer_cli.models.sface import import_sface
from fer_cli.models.vggface2 import VGGFace2Encoder
from fer_cli.prediction.neutral.identity import CUSTOMARY, STRICT, choose_identity, cluster
from fer_cli.prediction.pipeline import to_tensor
from fer_cli.prediction.results import FacePrediction
from fer_cli.runs.run import Run
from tests.made import sface_graph
from tests.prediction.runs import write_run

LABELS = {"id2label": {0: "anger", 1: "fear"}, "label2id": {"anger": 0, "fear": 1}}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def paired(tmp_path) -> Run:
    return write_run(tmp_path / "paired", features="both")


def identity_run(folder, threshold: float | None = 0.125) -> Run:
    run = write_run(folder, features="target", model="identity")
    torch.manual_seed(1)
    IdentityModel(IdentityConfig(**LABELS)).save_pretrained(folder)
    NeutralMean(torch.ones(576), 3, threshold).save(folder)
    return run


def stage_1(folder, identity: str | None = "mobilenet_v3_small") -> Run:
    run = write_run(
        folder, features="target", model="disentangled", recipe={"stage": 1, "identity": "x" if identity else "none"}
    )
    torch.manual_seed(2)
    DisentangledModel(DisentangledConfig("mobilenet_v3_small", identity, **LABELS)).save_pretrained(folder)
    return run


def chosen(run: Run, **settings):
    return choose_identity(run, Classifier.load(run.path, "cpu"), **settings)


def test_a_runs_own_encoder_is_the_last_resort_and_it_is_said(paired):
    found = chosen(paired)
    assert "its own encoder" in found.about
    assert found.threshold == 0.25
    assert found.centre.shape == (576,)
    crops = torch.randint(0, 256, (2, 3, 40, 40), dtype=torch.uint8)
    assert torch.allclose(torch.from_numpy(found.embed(crops)), Classifier.load(paired.path, "cpu").embed(crops))


def test_the_identity_encoder_that_it_was_trained_beside_comes_before(tmp_path):
    run = write_run(tmp_path / "run", features="both", model="disentangled", recipe={"stage": None})
    stage_1(run.path / "stage1")
    found = chosen(run)
    assert found.about == f"the identity encoder of {run.path / 'stage1'}"
    assert found.threshold == CUSTOMARY
    identity_run(run.path / "stage1" / "identity")
    for found in (chosen(run), chosen(run, wanted=str(run.path))):
        assert found.about == str(run.path / "stage1" / "identity")
        assert found.threshold == 0.125


def test_sface_comes_first_where_it_is_here_and_takes_aligned_faces(tmp_path):
    run = write_run(tmp_path / "run", features="both", model="disentangled", recipe={"stage": None})
    stage_1(run.path / "stage1")
    file = import_sface(sface_graph(tmp_path / "made.onnx"))
    for found in (chosen(run), chosen(run, wanted="sface"), chosen(run, wanted=str(file))):
        assert found.about.startswith(f"sface ({file})")
        assert "checksum" in found.about
        assert found.aligned
        assert found.threshold == pytest.approx(0.637)
        assert found.centre is None
    assert chosen(run, threshold=0.4).threshold == 0.4
    assert not chosen(run, wanted=str(run.path)).aligned


def test_an_aligned_crop_is_taken_where_there_is_one_else_the_crop_resized(tmp_path, paired):
    encoder = chosen(paired, wanted=str(sface_graph(tmp_path / "made.onnx")))
    random = np.random.default_rng(0)
    aligned, crop = (random.integers(0, 256, (side, side, 3), dtype=np.uint8) for side in (112, 64))
    resized = Preprocessing(112).resize(to_tensor([crop]))[0].permute(1, 2, 0).numpy()
    faces = [FacePrediction(number, crop=crop, aligned=each) for number, each in enumerate((aligned, None, resized))]
    one, two, three = encoder.embed_faces(faces)
    assert np.array_equal(one, encoder.embed(to_tensor([aligned]))[0])
    assert np.array_equal(two, three)
    assert not np.allclose(one, two)


def test_a_model_without_a_run_is_told_people_by_its_own_encoder(paired):
    classifier = Classifier.load(paired.path, "cpu")
    found = choose_identity(None, classifier)
    assert found.about.startswith("the model, its own encoder")
    assert "fer weights fetch sface" in found.about
    assert (found.centre, found.threshold) == (None, STRICT)
    assert found.network is classifier.model.encoder


def test_a_single_face_run_has_the_centre_that_lies_next_to_it(tmp_path):
    run = write_run(tmp_path / "single", features="target")
    run.path.joinpath("neutral.safetensors").unlink(missing_ok=True)
    assert chosen(run).centre is None
    NeutralMean(torch.ones(576), 3, 0.125).save(run.path)
    assert chosen(run).threshold == 0.125
    assert chosen(run).centre.tolist() == [1.0] * 576


def test_a_stage_2_finds_it_in_the_run_that_it_started_from(tmp_path):
    stage_1(tmp_path / "first")
    run = write_run(
        tmp_path / "run", features="both", model="disentangled", recipe={"stage": 2, "encoder": str(tmp_path / "first")}
    )
    assert chosen(run).about == f"the identity encoder of {tmp_path / 'first'}"
    shutil.rmtree(tmp_path / "first")
    assert "its own encoder" in chosen(run).about


def test_imported_vggface2_weights_come_before_both(paired, tmp_path):
    network = VGGFace2Encoder().eval()
    (tmp_path / "cache").mkdir()
    save_file(network.network.state_dict(), tmp_path / "cache" / "vggface2.safetensors")
    found = chosen(paired)
    assert found.about == f"vggface2 ({tmp_path / 'cache' / 'vggface2.safetensors'})"
    assert (found.threshold, found.centre) == (CUSTOMARY, None)
    crop = torch.randint(0, 256, (1, 3, 224, 224), dtype=torch.uint8)
    with torch.inference_mode():
        expected = network(Preprocessing(224)(crop)).numpy()
    assert found.embed(crop) == pytest.approx(expected, rel=1e-4)


def test_what_is_named_comes_first(paired, tmp_path, monkeypatch):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "vggface2.safetensors").touch()
    run = identity_run(tmp_path / "identity")
    found = chosen(paired, wanted=str(run.path))
    assert found.about == str(run.path)
    assert found.threshold == 0.125
    assert found.embed(torch.zeros(1, 3, 40, 40, dtype=torch.uint8)).shape == (1, 576)
    assert chosen(paired, wanted=str(run.path / "model.safetensors")).threshold == CUSTOMARY


def test_the_weights_are_those_of_the_run(paired, tmp_path):
    run = identity_run(tmp_path / "identity")
    model = IdentityModel.from_pretrained(run.path).eval()
    crops = torch.randint(0, 256, (2, 3, 40, 40), dtype=torch.uint8)
    with torch.inference_mode():
        expected = model.encoder(Preprocessing.load(run.path)(crops))
    found = chosen(paired, wanted=str(run.path)).embed(crops)
    assert torch.allclose(torch.from_numpy(found), expected, atol=1e-5)


def test_a_threshold_may_be_given(paired):
    assert chosen(paired, threshold=0.7).threshold == 0.7


def test_what_is_not_there_is_said(paired, tmp_path):
    with pytest.raises(ModelError, match="There are no weights at"):
        chosen(paired, wanted=str(tmp_path / "nowhere"))
    with pytest.raises(ModelError, match="vggface2 is not in"):
        chosen(paired, wanted="vggface2")
    run = stage_1(tmp_path / "without", identity=None)
    with pytest.raises(ModelError, match="without an identity encoder"):
        chosen(paired, wanted=str(run.path))


def people(count: int, faces: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """``faces`` faces each of ``count`` people in mixed order, and who each is. Only people differ much."""
    chance = np.random.default_rng(seed)
    who = chance.permutation(np.repeat(np.arange(count), faces))
    return np.eye(max(count, 2))[who] + chance.normal(0, 0.05, (len(who), max(count, 2))), who


def test_two_faces_are_one_person_below_the_threshold_and_two_above():
    # cos 60° = 0.5, so they are 0.5 apart.
    faces = np.array([[1, 0], [0.5, np.sqrt(3) / 2]])
    assert cluster(faces, 0.51).tolist() == [0, 0]
    assert cluster(faces, 0.49).tolist() == [0, 1]


def test_the_mean_distance_decides_not_the_nearest_face():
    # At 0°, 40° and 80°: neighbours are 0.234 apart, the outer ones 0.826, the third from the pair 0.53 on average.
    turns = np.radians([0, 40, 80])
    faces = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    assert cluster(faces, 0.4).tolist() in ([0, 0, 1], [0, 1, 1])
    assert cluster(faces, 0.6).tolist() == [0, 0, 0]


def test_what_all_faces_share_is_taken_away_first():
    faces = np.array([[10.0, 1.0], [10.0, -1.0]])
    assert cluster(faces, 0.5).tolist() == [0, 0]
    assert cluster(faces, 0.5, centre=np.array([10.0, 0.0])).tolist() == [0, 1]


@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 20), st.integers(2, 40))
def test_people_are_told_apart_at_once_and_in_parts(count, faces, seed, at_once):
    embeddings, who = people(count, faces, seed)
    found = cluster(embeddings.astype(np.float16), 0.5, at_once=at_once)
    assert adjusted_rand_score(who, found) == 1
    # Numbered in the order of their first faces.
    assert list(dict.fromkeys(found.tolist())) == list(range(count))


@pytest.mark.parametrize("count", [0, 1])
def test_few_faces(count):
    assert cluster(np.ones((count, 4), np.float16), 0.5).tolist() == [0] * count


def test_a_face_without_any_features_does_no_harm():
    assert len(cluster(np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 0.1]]), 0.5)) == 3
