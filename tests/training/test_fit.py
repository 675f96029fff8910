import dataclasses
import json
import platform

import pandas as pd
import pytest
import torch
import torchvision
import transformers
from safetensors.torch import load_file

import fer_cli
from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.documents import read_seen
from fer_cli.errors import DatasetError, RunError
from fer_cli.evaluation.evaluate import evaluate
from fer_cli.models import DifferenceModel
from fer_cli.models.device import device_name
from fer_cli.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from fer_cli.options import Session
from fer_cli.runs.run import Run
from fer_cli.training.fit import fit, last_whole_checkpoint
from fer_cli.training.folder import identity_of, will_resume
from fer_cli.training.recipes.difference import DifferenceRecipe
from tests.made import CLASSES, abandoned, made_dataset, unnamed

QUICK = DifferenceRecipe(
    encoder="scratch", backbone="mobilenet_v3_small", epochs=2, batch_size=5, logger=("tensorboard",)
)


def weights(run: Run) -> dict[str, torch.Tensor]:
    return load_file(run.path / "model.safetensors")


def same(one: Run, other: Run) -> bool:
    first, second = weights(one), weights(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture
def run(made, tmp_path):
    return fit(QUICK, made, tmp_path / "run", device="cpu", command="fer train difference")


def test_a_run_holds_what_is_needed_to_use_repeat_and_judge_it(run, made):
    assert {path.name for path in run.path.iterdir()} == {
        *("config.json", "model.safetensors", "preprocessor_config.json"),
        *("run.json", "epochs.csv", "tensorboard", "neutral.safetensors"),
    }
    trained, validated, tested = (["P03", "P06", "P09"], ["P02", "P05", "P08"], ["P01", "P04", "P07"])
    expected = {
        "version": 1,
        "model": "difference",
        "command": "fer train difference",
        "recipe": QUICK.to_dict(),
        "fold": 0,
        "classes": list(CLASSES),
        "protocol": made.protocol.to_dict(),
        "subjects": {"train": trained, "val": validated, "test": tested},
        "seen": {"made": sorted(trained + validated)},
        "insisted_on": [],
        "counts": {"train": 9, "val": 9, "test": 9},
        "epoch_rule": "lowest loss on the validation fold",
        "device": device_name(torch.device("cpu")),
        "processes": 1,
        "precision": "float32",
    }
    assert {name: run.card.get(name) for name in expected} == expected
    dataset = {"path": str(made.path.resolve()), "name": "made", "corpus": "made", "fingerprint": made.fingerprint}
    assert run.card["dataset"].items() >= {**dataset, "without_subject": 0}.items()
    assert (
        run.card["versions"].items()
        >= {
            "fer": fer_cli.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "transformers": transformers.__version__,
        }.items()
    )
    assert DifferenceModel.from_pretrained(run.path).config.id2label == dict(enumerate(CLASSES))


def test_a_runs_weights_say_whom_they_have_seen_and_its_pictures_how_they_are_prepared(run, made):
    assert read_seen(run.path / "model.safetensors") == run.seen
    assert Preprocessing.load(run.path) == Preprocessing(32, IMAGENET_MEAN, IMAGENET_STD, made.crop)


def test_subjects_are_on_one_side_and_the_test_folds_are_unseen(run, made):
    train, val, test = (set(run.card["subjects"][side]) for side in ("train", "val", "test"))
    assert not train & val
    assert not train & test
    assert not val & test
    assert set(run.seen["made"]) == train | val
    fold_of = made.metadata.drop_duplicates("subject").set_index("subject")["fold"]
    assert {fold_of[name] for name in test} == {0}
    assert {fold_of[name] for name in val} == {1}


def test_the_epochs_are_written_down_and_the_best_is_by_validation_loss(run):
    epochs = pd.read_csv(run.path / "epochs.csv")
    assert list(epochs.columns) == ["epoch", "loss", "val_loss", "val_accuracy", "val_uar"]
    assert list(epochs["epoch"]) == [1, 2]
    assert epochs.notna().all(axis=None)
    assert run.card["best"]["val_loss"] == pytest.approx(epochs["val_loss"].min())


def test_the_same_seed_gives_the_same_weights_and_another_does_not(run, made, tmp_path):
    assert same(run, fit(QUICK, made, tmp_path / "again", device="cpu"))
    assert not same(run, fit(dataclasses.replace(QUICK, seed=1), made, tmp_path / "other", device="cpu"))


def test_an_interrupted_training_goes_on_and_ends_as_if_it_had_not_been(run, made, tmp_path):
    out = tmp_path / "interrupted"

    def interrupt(stage: str, done: int, total: int | None, /, **facts: float | str) -> None:
        if (out / "checkpoints").is_dir() and list(out.glob("checkpoints/*/trainer_state.json")) and done < total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(QUICK, made, out, device="cpu", progress=interrupt)
    with pytest.raises(RunError, match="not finished"):
        Run.open(out)
    assert will_resume(identity_of(QUICK, made), out)
    assert not will_resume(identity_of(dataclasses.replace(QUICK, epochs=9), made), out)
    (made.path / "embeddings").mkdir(exist_ok=True)
    left = [abandoned(out, "epochs.csv"), abandoned(made.path / "embeddings", "one.safetensors")]
    steps = []
    resumed = fit(QUICK, made, out, device="cpu", progress=lambda stage, done, total, /, **facts: steps.append(done))
    assert steps[0] > 1
    assert same(run, resumed)
    assert [path.exists() for path in left] == [False, True]
    # An encoder that is trained embeds nothing; one that is frozen does.
    fit(dataclasses.replace(QUICK, encoder=str(run.path), epochs=1), made, tmp_path / "frozen", device="cpu")
    assert not left[1].exists()


def test_a_training_killed_before_it_wrote_anything_is_not_in_the_way(made, tmp_path):
    (tmp_path / "run").mkdir()
    abandoned(tmp_path / "run", "unfinished.json")
    assert fit(dataclasses.replace(QUICK, epochs=1), made, tmp_path / "run", device="cpu").path == tmp_path / "run"


def test_a_checkpoint_cut_short_is_passed_over(tmp_path):
    for step, whole in ((3, True), (6, True), (9, False)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if whole:
            (folder / "trainer_state.json").write_text("{}")
    assert last_whole_checkpoint(tmp_path) == str(tmp_path / "checkpoint-6")
    assert last_whole_checkpoint(tmp_path / "nowhere") is None


def test_a_finished_run_and_other_things_are_not_overwritten(run, made, tmp_path):
    with pytest.raises(RunError, match="finished run"):
        fit(QUICK, made, run.path, device="cpu")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("precious")
    with pytest.raises(RunError, match="in the way"):
        fit(QUICK, made, tmp_path / "thesis", device="cpu")
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "precious"


def test_an_encoder_that_knows_the_tested_subjects_is_refused_by_name(run, made, tmp_path):
    start = dataclasses.replace(QUICK, encoder=str(run.path), tune_encoder=True, epochs=1)
    same_fold = fit(start, made, tmp_path / "same-fold", device="cpu")
    assert same_fold.seen == run.seen
    other_fold = dataclasses.replace(start, fold=1)
    with pytest.raises(RunError, match=r"trained on 3 of the made subjects .*P02, P05, P08"):
        fit(other_fold, made, tmp_path / "other-fold", device="cpu")
    insisted = fit(other_fold, made, tmp_path / "other-fold", device="cpu", allow_seen=True)
    assert len(insisted.seen["made"]) == 9


def test_another_corpus_is_remembered_beside_the_first(run, tmp_path):
    other = made_dataset(tmp_path / "data" / "other", corpus="other")
    start = dataclasses.replace(QUICK, encoder=str(run.path), tune_encoder=True, epochs=1, fold=1)
    assert set(fit(start, other, tmp_path / "on-other", device="cpu").seen) == {"made", "other"}


def test_an_encoder_from_a_run_starts_with_its_weights(run, made, tmp_path):
    frozen = fit(dataclasses.replace(QUICK, encoder=str(run.path), epochs=1), made, tmp_path / "frozen", device="cpu")
    before, after = weights(run), weights(frozen)
    encoder = [name for name in before if name.startswith("encoder.")]
    assert encoder
    assert all(torch.equal(before[name], after[name]) for name in encoder)


def test_single_pictures_train_without_a_neutral(made, tmp_path):
    run = fit(dataclasses.replace(QUICK, features="target", epochs=1), made, tmp_path / "target", device="cpu")
    assert run.card["recipe"]["features"] == "target"
    assert run.card["command"] == ""
    assert run.card["dataset"]["without_subject"] == 0


def test_pictures_that_name_nobody_do_not_train_where_there_are_folds_and_are_counted(made, tmp_path):
    metadata = pd.read_csv(made.path / "metadata.csv", dtype="string")
    metadata.loc[[1, 6, 11], ["subject", "fold", "neutral_file_name"]] = None
    metadata.to_csv(made.path / "metadata.csv", index=False)
    quick = dataclasses.replace(QUICK, features="target", epochs=1)
    run = fit(quick, PreparedDataset.open(made.path), tmp_path / "run", device="cpu")
    assert sum(run.card["counts"].values()) == 27 - 3
    assert run.card["dataset"]["without_subject"] == 3


def test_a_class_that_only_other_folds_show_is_refused(made, tmp_path):
    metadata = pd.read_csv(made.path / "metadata.csv", dtype="string")
    fold = metadata["fold"].astype(int)
    metadata[(metadata["label"] != "anger") | (fold == 0)].to_csv(made.path / "metadata.csv", index=False)
    with pytest.raises(DatasetError, match="show no anger"):
        fit(QUICK, PreparedDataset.open(made.path), tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_the_card_is_json_that_anyone_can_read(run):
    assert json.loads((run.path / "run.json").read_text(encoding="utf-8")) == run.card


def test_pictures_of_unnamed_people_train_on_their_owners_split(tmp_path):
    made = made_dataset(tmp_path / "data" / "made", subjects=12)
    dataset = unnamed(made, {"a": "train", "b": "val", "c": "test"})
    run = fit(dataclasses.replace(QUICK, features="target", epochs=1), dataset, tmp_path / "run", device="cpu")
    assert run.seen == {"made": []}
    assert run.card["counts"] == {"train": 12, "val": 12, "test": 12}
    evaluation = evaluate(run, session=Session("cpu"))
    assert evaluation.provenance.about.endswith("the owners' split; neutral none")
    assert len(evaluation.predictions) == 12
