import dataclasses

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.errors import DatasetError, ModelError, RunError, UsageError
from fer_cli.evaluation.evaluate import evaluate
from fer_cli.models import DifferenceModel, DisentangledModel
from fer_cli.options import Session
from fer_cli.runs.run import Run
from fer_cli.training.fit import fit
from fer_cli.training.recipes.base import BuildContext
from fer_cli.training.recipes.disentangled import DisentangledRecipe, IdentityRecipe
from tests.made import CLASSES, unnamed

BOTH = DisentangledRecipe(
    encoder="scratch", identity="subjects", backbone="mobilenet_v3_small", epochs=1, batch_size=9, logger=("none",)
)
STAGE_1 = dataclasses.replace(BOTH, stage=1, identity="none")


@pytest.fixture
def stage_1(made, tmp_path) -> Run:
    return fit(STAGE_1, made, tmp_path / "stage1", device="cpu")


def test_both_stages_in_turn_are_runs_inside_one_another(made, tmp_path):
    run = fit(BOTH, made, tmp_path / "run", device="cpu")
    first, identity = Run.open(run.path / "stage1"), Run.open(run.path / "stage1" / "identity")
    assert isinstance(DifferenceModel.from_pretrained(run.path), DifferenceModel)
    stage_1 = DisentangledModel.from_pretrained(first.path)
    one, two = load_file(first.path / "model.safetensors"), load_file(run.path / "model.safetensors")
    encoder = [name for name in two if name.startswith("encoder.")]
    assert encoder
    assert all(torch.equal(one[name], two[name]) for name in encoder)
    trained = load_file(identity.path / "model.safetensors")
    beside = {name.removeprefix("encoder."): tensor for name, tensor in trained.items() if name.startswith("encoder.")}
    assert all(torch.equal(beside[name], tensor) for name, tensor in stage_1.identity.state_dict().items())
    # Nobody in the test fold was seen by any of the three.
    test = set(run.card["subjects"]["test"])
    assert test == set(made.split(0, paired=True)["test"]["subject"])
    assert not test & {name for part in (run, first, identity) for name in part.seen["made"]}
    assert not DifferenceModel.from_pretrained(run.path).config.tune_encoder


def test_a_finished_stage_is_not_trained_again(made, tmp_path, monkeypatch):
    import fer_cli.training.fit as fitting

    out, make = tmp_path / "run", fitting.make_trainer

    def stop_at_stage_2(model, *arguments, **settings):
        if isinstance(model, DifferenceModel):
            raise KeyboardInterrupt
        return make(model, *arguments, **settings)

    recipe = dataclasses.replace(BOTH, identity="none")
    monkeypatch.setattr(fitting, "make_trainer", stop_at_stage_2)
    with pytest.raises(KeyboardInterrupt):
        fit(recipe, made, out, device="cpu")
    written = (out / "stage1" / "run.json").stat().st_mtime_ns
    monkeypatch.setattr(fitting, "make_trainer", make)
    fit(recipe, made, out, device="cpu")
    assert (out / "stage1" / "run.json").stat().st_mtime_ns == written


def test_stage_2_by_itself_starts_from_the_run_it_is_told(stage_1, made, tmp_path):
    run = fit(DisentangledRecipe(stage=2, encoder=str(stage_1.path), epochs=1, batch_size=9), made, tmp_path / "two")
    assert run.card["recipe"]["encoder"] == str(stage_1.path)
    assert run.seen == stage_1.seen


def test_stage_2_on_another_fold_than_stage_1_is_refused_by_name_unless_insisted_on(stage_1, made, tmp_path):
    two = DisentangledRecipe(stage=2, encoder=str(stage_1.path), epochs=1, batch_size=9, fold=1)
    with pytest.raises(RunError, match=r"trained on 3 of the made subjects that fold 1 tests \(P02, P05, P08\)"):
        fit(two, made, tmp_path / "two", device="cpu")
    assert not (tmp_path / "two").exists()
    run = fit(two, made, tmp_path / "two", device="cpu", allow_seen=True)
    assert run.card["insisted_on"] == ["P02", "P05", "P08"]
    # Whoever insisted on it then, every report says so.
    with pytest.raises(RunError, match="P02, P05, P08"):
        evaluate(run, session=Session("cpu"))
    evaluation = evaluate(run, session=Session("cpu", allow_seen=True))
    assert "TESTED ON 3 SUBJECTS THAT THE MODEL WAS TRAINED ON" in evaluation.provenance.about
    assert any("P02, P05, P08" in note for note in evaluation.notes)
    assert "TRAINED ON" in (evaluation.path / "metrics.json").read_text()


def test_stage_2_needs_a_stage_1(made, tmp_path):
    with pytest.raises(UsageError) as caught:
        fit(DisentangledRecipe(stage=2, epochs=1), made, tmp_path / "two", device="cpu")
    assert "--stage 1" in caught.value.hint
    with pytest.raises(UsageError, match="nowhere is not a folder"):
        fit(DisentangledRecipe(stage=2, epochs=1, encoder="nowhere"), made, tmp_path / "two", device="cpu")


@pytest.mark.parametrize("way", ["adversarial", "orthogonal"])
def test_identity_is_driven_out_in_other_ways(way, made, tmp_path):
    identity = "subjects" if way == "orthogonal" else "none"
    recipe = dataclasses.replace(STAGE_1, disentangle=way, identity=identity, identity_margin=0.25)
    run = fit(recipe, made, tmp_path / way, device="cpu")
    config = DisentangledModel.from_pretrained(run.path).config
    assert config.disentangle == way
    assert config.disentangle_weight == {"adversarial": 0.1, "orthogonal": 1.0}[way]
    assert config.subjects == len(run.card["subjects"]["train"]) == 3
    assert len(evaluate(run, session=Session("cpu")).predictions) == 9


def test_an_adversary_needs_subjects(made, tmp_path):
    dataset = unnamed(made, {"a": "train", "b": "val", "c": "test"})
    recipe = dataclasses.replace(STAGE_1, disentangle="adversarial")
    with pytest.raises(DatasetError, match="who is shown"):
        fit(recipe, dataset, tmp_path / "run", device="cpu")


def test_stage_1_takes_single_pictures_of_unnamed_people(made, tmp_path):
    dataset = unnamed(made, {"a": "train", "b": "val", "c": "test"})
    run = fit(STAGE_1, dataset, tmp_path / "run", device="cpu")
    assert run.card["classes"] == list(CLASSES)


def test_published_identity_weights_that_are_not_here_say_every_way_out(made, tmp_path, monkeypatch):
    monkeypatch.setenv("FER_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ModelError) as caught:
        fit(dataclasses.replace(STAGE_1, identity="vggface2"), made, tmp_path / "run", device="cpu")
    for way in ("fer weights import", "--identity subjects", "--identity PATH", "--identity none"):
        assert way in caught.value.hint
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("settings", [{"stage": 3}, {"disentangle_weight": -1.0}])
def test_what_cannot_be_meant_is_refused(settings):
    with pytest.raises(UsageError):
        DisentangledRecipe(**settings)


def test_the_identity_encoder_sees_all_pictures_of_the_training_subjects_and_of_nobody_else(made):
    sides = IdentityRecipe().sides(made)
    named = set(made.split(0, paired=False)["train"]["subject"])
    assert set(sides["train"]["subject"]) == set(sides["val"]["subject"]) == named
    assert sides["test"].empty
    # Of each subject's four pictures, neutral included, the last chooses the epoch.
    assert set(sides["train"].groupby("subject").size()) == {3}
    assert set(sides["val"].groupby("subject").size()) == {1}
    assert "neutral" in " ".join(sides["train"]["file_name"]) + " ".join(sides["val"]["file_name"])
    assert (sides["train"]["label"] == sides["train"]["subject"]).all()
    assert IdentityRecipe().classes(made, sides) == tuple(sorted(named))


def recordings(made, sequences: dict[str, list[str | None]], frames: int = 3) -> PreparedDataset:
    """The dataset with other rows: of each training subject named, ``frames`` a sequence, and a still for each None."""
    rows = []
    for subject, recorded in sequences.items():
        for place, sequence in enumerate(recorded):
            for frame in range(frames if sequence else 1):
                name = f"images/{subject}/{place:02d}-{frame}.png"
                rows.append({"file_name": name, "label": "anger", "subject": subject, "sequence": sequence})
    metadata = pd.DataFrame(rows).assign(neutral_file_name=None, frame="f", role="apex", split=None, fold=2)
    dataset = type(made)(made.path, made.card, metadata.astype("string").astype({"fold": "Int64"}))
    object.__setattr__(dataset, "split", lambda fold, paired: {"train": metadata})
    return dataset


def test_the_identity_encoders_epoch_is_chosen_by_sequences_of_which_it_has_seen_no_frame(made):
    """Of two frames a moment apart the second says nothing about how well the first was learned."""
    dataset = recordings(
        made, {"P1": [f"s{place}" for place in range(11)], "P2": ["s0", "s1"], "P3": ["s0"], "P4": [None] * 10}
    )
    sides = IdentityRecipe().sides(dataset)
    train, val = (sides[side].groupby("subject")["sequence"].unique().to_dict() for side in ("train", "val"))
    # Of every five sequences the last, of fewer the last, of one none; of stills as of sequences.
    assert set(val["P1"]) == {"s4", "s9"}
    assert set(train["P1"]) == {f"s{place}" for place in range(11)} - {"s4", "s9"}
    assert (set(train["P2"]), set(val["P2"])) == ({"s0"}, {"s1"})
    assert "P3" in train
    assert "P3" not in val
    stills = sides["val"][sides["val"]["subject"] == "P4"]["file_name"].tolist()
    assert stills == ["images/P4/04-0.png", "images/P4/09-0.png"]
    # Whole sequences: no picture is lost, and none is on both sides.
    assert sorted([*sides["train"]["file_name"], *sides["val"]["file_name"]]) == sorted(dataset.metadata["file_name"])
    assert IdentityRecipe().classes(dataset, sides) == ("P1", "P2", "P3", "P4")


@pytest.mark.parametrize("recorded", [["s0"], [None]])
def test_an_identity_encoder_needs_two_recordings_of_somebody(made, recorded):
    with pytest.raises(DatasetError, match="one picture or sequence of each subject") as caught:
        IdentityRecipe().sides(recordings(made, {"P1": recorded, "P2": recorded}))
    assert "--identity none" in caught.value.hint


def test_the_identity_encoder_needs_to_be_told_who_is_who(made):
    dataset = unnamed(made, {"a": "train", "b": "val", "c": "test"})
    with pytest.raises(DatasetError, match="does not say who is shown") as caught:
        IdentityRecipe().sides(dataset)
    assert "--identity vggface2" in caught.value.hint


def test_the_networks_widths_are_the_notes():
    recipe = DisentangledRecipe(stage=1, encoder="scratch", identity="none")
    with torch.device("meta"):
        network = recipe.build(BuildContext(CLASSES, 224))
    assert network.encoder.width == 960
