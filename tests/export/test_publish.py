"""A run sent to the Hub, which a stand-in on this machine plays, and fetched from it again."""

import json

import numpy as np
import pytest
import torch
from huggingface_hub import constants

from fer_cli import Predictor
from fer_cli.embeddings.neutral import FILE as NEUTRAL_MEAN
from fer_cli.errors import ModelError, RunError, UsageError
from fer_cli.export.card import Publication
from fer_cli.export.publish import plan, push
from fer_cli.models import Preprocessing, ViTSEConfig, ViTSEModel
from fer_cli.models.hub import OWN_FILES, fetch_own, load_published
from fer_cli.prediction.predictor import open_model
from tests.hub import Hub, running_hub
from tests.prediction.runs import write_run
from tests.pretrained.made import made_evaluation

NAME = "anna/smiles"
GIVEN = Publication(NAME, "cc-by-4.0", "The owners, by letter")


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with running_hub(monkeypatch, tmp_path / "hub-cache") as hub:
        yield hub


@pytest.fixture
def run(tmp_path):
    command = "fer train vit-se --data /home/anna/data/made --out=/home/anna/runs/one"
    return vit_se(tmp_path / "run", command=command, seen={"made": ["P01", "P02"]}, device="Anna's GPU")


def paired(folder):
    run = write_run(folder, features="both")
    made_evaluation(folder / "evaluation")
    return run


def vit_se(folder, **card):
    run = write_run(folder, features="target", model="vit-se", **card)
    labels = {"id2label": dict(enumerate(run.card["classes"])), "label2id": {}}
    tiny = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    torch.manual_seed(0)
    ViTSEModel(ViTSEConfig(vit={"image_size": 32, "patch_size": 16, **tiny}, **labels)).save_pretrained(folder)
    Preprocessing(32, face_crop={"size": 40, "margin": 0.15, "detector": "none"}).save(folder)
    made_evaluation(folder / "evaluation")
    return run


@pytest.mark.parametrize("make", [paired, vit_se])
def test_what_is_sent_predicts_as_the_run_does_where_it_is_fetched(make, hub, tmp_path):
    run = make(tmp_path / "run")
    sent = push(run, GIVEN)
    assert sent.private
    assert hub.repositories[NAME].private
    pictures = list(np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3), dtype=np.uint8))
    here, there = (Predictor(source, device="cpu", detector="none") for source in (run.path, NAME))
    for before, after in zip(here(pictures, "mean"), there(pictures, "mean"), strict=True):
        assert [face.probabilities for face in before] == [face.probabilities for face in after]
    assert there.about.startswith(NAME)


def test_the_average_neutral_face_and_the_card_travel_and_everything_that_travels_is_fetched(hub, tmp_path):
    run = paired(tmp_path / "run")
    sent = push(run, GIVEN)
    assert NEUTRAL_MEAN in sent.plan.files
    assert set(sent.plan.files) <= set(OWN_FILES)
    files = hub.repositories[NAME].commits[-1]
    assert set(files) == {*sent.plan.files, ".gitattributes"}
    assert "license: cc-by-4.0" in files["README.md"].decode()
    assert "The owners, by letter" in files["README.md"].decode()
    assert {path.name for path in fetch_own(NAME).iterdir()} == set(sent.plan.files)


def test_an_earlier_commit_is_fetched_by_its_name(hub, run, tmp_path):
    first = push(run, GIVEN).commit
    assert push(run, GIVEN).changed is False
    config = json.loads((run.path / "config.json").read_text())
    (run.path / "config.json").write_text(json.dumps({**config, "softmax_temperature": 3.0}))
    second = push(run, GIVEN)
    assert second.changed
    assert [load_published(f"{NAME}{at}", "cpu")[0].temperature for at in ("", f"@{first}")] == [3.0, 1.0]
    with pytest.raises(ModelError, match="anna/smiles@gone"):
        load_published(f"{NAME}@gone", "cpu")


def test_what_was_fetched_once_needs_no_network(hub, run, monkeypatch):
    push(run, GIVEN)
    fetch_own(NAME)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert open_model(NAME, device="cpu").run.card["scores"]


def test_nothing_that_names_a_subject_or_a_folder_is_sent(hub, run, tmp_path):
    push(run, GIVEN)
    for name, content in hub.repositories[NAME].commits[-1].items():
        if name.endswith(".safetensors"):
            content = content[8 : 8 + int.from_bytes(content[:8], "little")]
        for word in (b"P01", b"P02", b"/home", b"Anna's", str(tmp_path).encode()):
            assert word not in content, f"{name}: {word}"


def test_a_plan_sends_nothing_and_needs_nobody_to_be_logged_in(run, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    made = plan(run, Publication(NAME))
    assert made.files["model.safetensors"] > 1000
    assert made.licence == "other"
    assert next(each.name for each in made.unpermitted) == "made"


def test_data_that_nobody_may_publish_from_need_a_permission(hub, run):
    with pytest.raises(UsageError, match="made") as caught:
        push(run, Publication(NAME))
    assert "--permission" in caught.value.hint
    assert hub.requests == []


def test_drawn_faces_need_none(hub, tmp_path):
    dataset = {"path": "/gone", "corpus": "synthetic", "fingerprint": "0"}
    run = vit_se(tmp_path / "run", dataset=dataset, seen={"synthetic": ["S001"]}, recipe={"encoder": "scratch"})
    assert push(run, Publication(NAME)).url.endswith(NAME)


def test_public_is_only_what_was_asked_to_be(hub, run):
    push(run, GIVEN, public=True)
    assert not hub.repositories[NAME].private
    with pytest.raises(UsageError, match="is public"):
        push(run, GIVEN)


@pytest.mark.parametrize("name", ["smiles", "anna/smi les", "anna/one/two", "../smiles", "anna/.."])
def test_a_name_that_the_hub_does_not_take_is_refused_here(name, run):
    with pytest.raises(UsageError, match="no name of the Hub"):
        plan(run, Publication(name))


def test_a_licence_is_an_identifier(run):
    with pytest.raises(UsageError, match="--licence CC BY"):
        plan(run, Publication(NAME, "CC BY 4.0"))


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (("POST", "repos/create", 401), "does not take the token"),
        (("POST", "preupload", 403), "somebody else's"),
        (("POST", "commit", 409), "changed at the same time"),
    ],
)
def test_what_the_hub_refuses_is_said(hub: Hub, run, fault, said):
    hub.faults.append(fault)
    with pytest.raises(ModelError, match=said):
        push(run, GIVEN)


def test_a_name_of_others_is_said(hub, run):
    with pytest.raises(ModelError, match="somebody else's"):
        push(run, Publication("berta/smiles", permission="mine"))


@pytest.mark.parametrize("what", [500, "cut"])
def test_an_upload_that_fails_for_a_moment_goes_on_by_itself(hub, run, what):
    hub.faults.append(("PUT", "/lfs/", what))
    assert push(run, GIVEN).changed


@pytest.mark.parametrize("what", [500, "cut"])
def test_an_upload_that_breaks_off_leaves_nothing_half_and_the_same_line_completes_it(hub, run, what):
    hub.faults += [("POST", "/commit/", what)] * 10
    with pytest.raises(ModelError) as caught:
        push(run, GIVEN)
    assert "same line again" in caught.value.hint
    assert list(hub.repositories[NAME].commits[-1]) == [".gitattributes"]
    hub.faults.clear()
    sent = len([each for each in hub.requests if each[0] == "PUT"])
    push(run, GIVEN)
    assert "model.safetensors" in hub.repositories[NAME].commits[-1]
    # What had arrived is not sent twice.
    assert len([each for each in hub.requests if each[0] == "PUT"]) == sent == 1


def test_without_a_network_a_login_or_the_hub_the_reason_is_said(hub, run, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(ModelError, match="HF_HUB_OFFLINE"):
            push(run, GIVEN)
    with monkeypatch.context() as patch:
        patch.delenv("HF_TOKEN")
        patch.setattr(constants, "HF_TOKEN_PATH", str(run.path / "no token"))
        with pytest.raises(ModelError, match="logged in") as caught:
            push(run, GIVEN)
        assert "hf auth login" in caught.value.hint
    with monkeypatch.context() as patch:
        patch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
        with pytest.raises(ModelError, match="cannot be reached"):
            push(run, GIVEN)


def test_a_run_that_was_not_evaluated_and_a_package_are_refused(run):
    (run.path / "evaluation" / "metrics.json").unlink()
    with pytest.raises(RunError) as caught:
        plan(run, GIVEN)
    assert "fer evaluate" in caught.value.hint


def test_what_a_person_wrote_goes_in_the_place_of_the_card(hub, run):
    (run.path / "README.md").write_text("---\nlicense: mit\n---\n# Ours\n")
    assert push(run, Publication(NAME, permission="mine")).plan.licence == "mit"
    assert hub.repositories[NAME].commits[-1]["README.md"].decode().endswith("# Ours\n")
    with pytest.raises(UsageError, match="states mit"):
        plan(run, GIVEN)
