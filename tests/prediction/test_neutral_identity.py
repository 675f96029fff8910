import shutil

import pytest
import torch
from safetensors.torch import save_file

from fer_cli.embeddings.neutral import NeutralMean
from fer_cli.errors import ModelError
from fer_cli.models import Classifier, IdentityConfig, IdentityModel, Preprocessing
from fer_cli.models.disentangled import DisentangledConfig, DisentangledModel
from fer_cli.models.vggface2 import VGGFace2Encoder
from fer_cli.prediction.neutral_identity import CUSTOMARY, choose_identity
from fer_cli.runs.run import Run
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
