"""``fer train`` as a person types it: each model, its recipes, configuration files, resuming, all folds."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.cli.test_path import fer
from tests.made import abandoned, made_dataset, made_model

SMALL = ("--backbone", "mobilenet_v3_small", "--epochs", "1", "--batch-size", "9", "--logger", "none")
SCRATCH = ("--encoder", "scratch", *SMALL)


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A folder to stand in, with a prepared dataset in ./data and an encoder in ./encoder."""
    monkeypatch.chdir(tmp_path)
    made_dataset(tmp_path / "data" / "made")
    made_model(features="target").save_pretrained(tmp_path / "encoder")
    return tmp_path


def recipe_of(run: str | Path) -> dict:
    return json.loads((Path(run) / "run.json").read_text())["recipe"]


def weights_of(run: str | Path) -> dict[str, torch.Tensor]:
    return load_file(Path(run) / "model.safetensors")


def test_every_model_by_a_line_of_its_own_one_after_the_other(here):
    fer("train", "vit-se", "--no-pretrained", "--backbone", "tiny", "--epochs", "1", "--logger", "none")
    assert fer("train", "difference", *SCRATCH).splitlines()[-1] == "next      fer predict PICTURES"
    said = fer("train", "disentangled", "--stage", "1", "--identity", "subjects", *SCRATCH)
    assert said.splitlines()[-1] == "next      fer train disentangled --stage 2"
    said = fer("train", "disentangled", "--stage", "2", "--epochs", "1", "--logger", "none")
    assert "runs/disentangled-stage1-made-fold0 (the latest in ./runs)" in said
    assert {path.name for path in (here / "runs").iterdir()} == {
        "vit-se-made-fold0",
        "difference-made-fold0",
        "disentangled-stage1-made-fold0",
        "disentangled-made-fold0",
    }
    assert recipe_of("runs/disentangled-made-fold0")["encoder"] == "runs/disentangled-stage1-made-fold0"


def test_stage_2_takes_a_stage_1_of_its_own_fold_and_data_only(here):
    said = fer("train", "disentangled", "--stage", "2", code=1)
    assert "--stage 1 first" in said
    fer("train", "disentangled", "--stage", "1", "--identity", "none", *SCRATCH)
    assert "fold 1" in fer("train", "disentangled", "--stage", "2", "--fold", "1", code=1)
    refused = fer(
        *("train", "disentangled", "--stage", "2", "--fold", "1"),
        *("--encoder", "runs/disentangled-stage1-made-fold0"),
        code=1,
    )
    assert "P02, P05, P08" in refused
    assert "--allow-seen-subjects" in refused
    insisted = fer(
        *("train", "disentangled", "--stage", "2", "--fold", "1", "--epochs", "1", "--logger", "none"),
        *("--encoder", "runs/disentangled-stage1-made-fold0", "--allow-seen-subjects"),
    )
    assert "TESTED ON 3 SUBJECTS THAT THE MODEL WAS TRAINED ON" in " ".join(insisted.split())


def test_an_ablation_over_all_folds_is_one_line_and_one_table(here):
    said = fer("train", "difference", "--ablation", "--cv", "--encoder", "encoder", "--epochs", "1", "--logger", "none")
    table = [line for line in said.splitlines() if "±" in line and "27" in line]
    assert [line.split()[0] for line in table] == ["target", "difference", "both"]
    assert said.splitlines()[-1].endswith("fer predict PICTURES --run runs/difference-ablation-made-cv/both/fold0")
    assert (here / "runs/difference-ablation-made-cv/both/fold2/run.json").is_file()
    assert "over 3 folds" in fer("evaluate", "runs/difference-ablation-made-cv/both")


def test_a_published_recipe_stands_below_the_flags(here):
    fer("train", "difference", "--recipe", "note", "--encoder", "encoder", "--epochs", "2", "--logger", "none")
    recipe = recipe_of("runs/difference-made-fold0")
    assert (recipe["optimizer"], recipe["schedule"], recipe["batch_size"]) == ("adam", "constant", 32)
    assert recipe["epochs"] == 2
    assert "note" in fer("train", "difference", "--recipe", "paper", code=2)


def test_a_file_overrides_the_recipe_and_a_flag_the_file(here):
    (here / "mine.toml").write_text(
        'recipe = "note"\nencoder = "encoder"\nepochs = 2\nbatch-size = 7\nlr = 0.002\nlogger = ["none"]\n'
    )
    fer("train", "difference", "--config", "mine.toml", "--epochs", "1")
    recipe = recipe_of("runs/difference-made-fold0")
    assert recipe["epochs"] == 1
    assert (recipe["batch_size"], recipe["lr"], recipe["logger"]) == (7, 0.002, ["none"])
    assert (recipe["optimizer"], recipe["warmup"]) == ("adam", 0.0)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("epoch = 3", "sets epoch"),
        ("epochs = ", "not TOML"),
        ('epochs = "many"', "--epochs"),
        ("epochs = 0", "--epochs 0"),
        ('recipe = "thesis"', "--recipe thesis"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(here, content, said):
    (here / "wrong.toml").write_text(content)
    assert said in fer("train", "difference", "--config", "wrong.toml", code=2)
    assert not (here / "runs").exists()


def test_a_file_that_is_not_there_is_said(here):
    assert "nowhere.toml" in fer("train", "difference", "--config", "nowhere.toml", code=2)
    (here / "run.json").write_text("{}")
    assert "not what fer wrote: Object missing required field `model`" in fer(
        "train", "difference", "--config", "run.json", code=2
    )


def test_a_run_is_repeated_from_its_own_file(here):
    fer("train", "difference", "--features", "difference", *SCRATCH, "--seed", "3", "--fold", "2")
    fer("train", "difference", "--config", "runs/difference-made-fold2/run.json", "--out", "again", "--device", "cpu")
    assert recipe_of("again") == recipe_of("runs/difference-made-fold2")
    one, other = weights_of("runs/difference-made-fold2"), weights_of("again")
    assert all(torch.equal(one[name], other[name]) for name in one)
    said = fer("train", "vit-se", "--config", "again/run.json", code=2)
    assert "fer train difference --config" in said


def test_all_folds_are_repeated_from_their_own_file(here):
    line = ("train", "difference", "--encoder", "encoder", "--epochs", "1", "--logger", "none", "--device", "cpu")
    fer(*line, "--cv", "--seed", "2")
    fer("train", "difference", "--config", "runs/difference-made-cv/cross-validation.json", "--out", "again")
    for fold in range(3):
        one, other = (weights_of(f"{folder}/fold{fold}") for folder in ("runs/difference-made-cv", "again"))
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_resume_goes_on_with_the_settings_that_it_was_begun_with(here, monkeypatch):
    import fer_cli.training.fit as fitting

    make = fitting.make_trainer

    def interrupted(*arguments, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(fitting, "make_trainer", interrupted)
    fer("train", "difference", *SCRATCH, "--seed", "5", code=130)
    monkeypatch.setattr(fitting, "make_trainer", make)
    said = fer("train", "difference", "--resume")
    assert "going on where it was interrupted" in said
    assert recipe_of("runs/difference-made-fold0")["seed"] == 5
    assert "no unfinished training" in fer("train", "difference", "--resume", code=1)
    assert "no unfinished training" in fer("train", "vit-se", "--resume", code=1)


def test_resume_goes_on_with_all_folds_and_with_a_folder_that_is_named(here, monkeypatch):
    import fer_cli.training.cross_validation as folds

    fit = folds.fit

    def interrupted(recipe, *arguments, **settings):
        if recipe.fold == 1:
            raise KeyboardInterrupt
        return fit(recipe, *arguments, **settings)

    line = ("train", "difference", "--encoder", "encoder", "--epochs", "1", "--logger", "none", "--device", "cpu")
    monkeypatch.setattr(folds, "fit", interrupted)
    fer(*line, "--cv", "--out", "mine", code=130)
    monkeypatch.setattr(folds, "fit", fit)
    assert "over 3 folds" in fer("train", "difference", "--resume", "--out", "mine")


def stopped(monkeypatch, after: int = 0):
    """An evaluation that is interrupted before its report, its last file, is written; the first ``after`` are not."""
    from fer_cli.evaluation import evaluate

    written = []

    def report(evaluation, *arguments, **settings):
        if len(written) == after:
            raise KeyboardInterrupt
        written.append(evaluation.path)
        return write_report(evaluation, *arguments, **settings)

    write_report = evaluate.write_report
    monkeypatch.setattr(evaluate, "write_report", report)


@pytest.mark.parametrize(
    ("line", "again", "after", "reports"),
    [
        (("difference",), "--resume", 0, ["difference-made-fold0"]),
        (("difference", "--cv"), "the line", 3, ["difference-made-cv"]),
        (
            ("difference", "--ablation"),
            "the line",
            1,
            [f"difference-ablation-made-fold0/{name}" for name in ("target", "difference", "both")],
        ),
    ],
    ids=["one fold", "cross-validation", "ablation"],
)
def test_a_closing_evaluation_that_was_interrupted_is_finished_by_the_same_line(
    here, monkeypatch, line, again, after, reports
):
    typed = ("train", *line, "--encoder", "encoder", "--epochs", "1", "--batch-size", "9", "--logger", "none")
    with monkeypatch.context() as patch:
        stopped(patch, after)
        fer(*typed, code=130)
    [out] = (here / "runs").iterdir()
    before = {path: path.stat().st_mtime_ns for path in out.rglob("model.safetensors")}
    assert before
    # What a process leaves that is killed: after the record of the training, before what is in the way of it is gone.
    run = here / "runs" / reports[0]
    (out / "unfinished.json").write_text("{}")
    left = [abandoned(out, "run.json"), abandoned(run / "evaluation", "predictions.csv")]
    said = fer(*typed) if again == "the line" else fer("train", line[0], "--resume")
    assert "going on where it was interrupted" in said
    assert all((here / "runs" / name / "evaluation" / "report.html").is_file() for name in reports)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("model.safetensors")} == before
    assert not any(path.exists() for path in left)
    assert not (out / "unfinished.json").exists()
    assert [path.name for path in (here / "runs").iterdir()] == [out.name]
    assert "no unfinished training" in fer("train", line[0], "--resume", code=1)


def test_a_folder_that_is_named_is_gone_on_with_until_it_is_evaluated(here, monkeypatch):
    typed = ("train", "difference", "--encoder", "encoder", "--epochs", "1", "--logger", "none", "--out", "mine")
    with monkeypatch.context() as patch:
        stopped(patch)
        fer(*typed, code=130)
    assert "holds a finished run" in fer(*typed, "--seed", "1", code=1)
    fer(*typed)
    assert "holds a finished run" in fer(*typed, code=1)


def test_a_training_that_diverges_ends_with_what_to_type_and_leaves_no_run(here, monkeypatch):
    import fer_cli.training.fit as fitting

    monkeypatch.setattr(fitting, "_class_weights", lambda labels: torch.full((3,), torch.inf))
    typed = ("train", "difference", "--encoder", "encoder", "--class-weights", "--lr", "0.5", "--logger", "none")
    said = fer(*typed, code=1)
    assert "The loss is nan at step 1, in epoch 1 of 30: the training has diverged." in said
    assert "Type a lower --lr (it was 0.5), --precision float32, or --clip below 1." in said
    assert "was not finished" in fer("evaluate", "runs/difference-made-fold0", code=1)


def test_help_shows_each_setting_with_the_models_own_first(here):
    said = fer("train", "disentangled", "--help")
    assert said.index("--stage") < said.index("--identity") < said.index("--epochs")
    for flag in ("--recipe", "--config", "--cv", "--resume", "--class-weights", "--accumulate", "--precision"):
        assert flag in said
    assert "fer train disentangled --stage 2 --encoder" in said
