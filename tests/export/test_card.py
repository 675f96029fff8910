"""The model card: what it tells of a run, what it does not, and who may change it."""

import json
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from fer_cli import pretrained
from fer_cli.corpora import corpora
from fer_cli.errors import RunError
from fer_cli.export.card import Publication, evaluations, is_own, model_card, refresh
from fer_cli.export.package import package
from fer_cli.export.provenance import corpora_behind, weights_behind
from fer_cli.runs.run import Run
from tests.prediction.runs import write_run
from tests.pretrained.made import evaluated_run, made_evaluation, metrics


@pytest.fixture
def run(tmp_path) -> Run:
    return evaluated_run(tmp_path / "run")


def text_of(run: Run, *args) -> str:
    return model_card(run, evaluations(run), *args)


def change(run: Run, **card) -> Run:
    (run.path / "run.json").write_text(json.dumps({**run.card, **card}))
    return Run.open(run.path)


def test_its_metadata_are_the_hubs(run):
    data = ModelCard(text_of(run, Publication("anna/smiles", "cc-by-4.0"))).data
    assert (data.license, data.license_name, data.pipeline_tag) == ("cc-by-4.0", None, "image-classification")
    [accuracy, *_] = data.eval_results
    assert (data.model_name, accuracy.metric_type, accuracy.metric_value) == ("smiles", "accuracy", 0.8)
    unstated = ModelCard(text_of(run)).data
    assert (unstated.license, unstated.license_name) == ("other", "not-stated")


@pytest.mark.parametrize(
    "told",
    [
        "Article 5(1)(f)",
        "A face is not a feeling",
        "10.1177/1529100619832930",
        "Code: fer-cli is under the MIT licence",
        "Weights: no licence is stated",
        "0.800 [0.700, 0.900]",
        "fitted on 30 validation faces",
        "fer train difference --data made --out=one --epochs 3",
        "fer 0",
        "Fingerprint of the training data: 0.",
        "Neutral access: none",
        "Of neutral (10), anger (10), happiness (10), surprise (10) there are fewer than 30 test faces",
        "Not evaluated.",
    ],
)
def test_a_reviewer_finds(run, told):
    assert told in text_of(run)


def test_neither_a_subject_nor_a_folder_is_named_in_it(run, tmp_path):
    notes = ["The model was trained on 1 subjects of this test (anna), which was insisted on.", "One subject only: so."]
    made_evaluation(run.path / "evaluation", subjects=["anna"], notes=notes)
    text = text_of(change(run, seen={"made": ["anna", "P01"]}))
    for word in ("anna", "Anna", "P01", "P02", str(tmp_path), "/home"):
        assert word not in text
    assert "One subject only" in text
    assert "The test shows 1 person" in text


def test_markup_in_names_stays_text(run):
    made_evaluation(run.path / "evaluation", about="a | b <script> [x](y)\n# title", corpus="`c`")
    text = text_of(run)
    assert r"a \| b \<script\> \[x\](y) # title" in text
    assert "\n# title" not in text


def test_groups_and_further_tests_are_in_it_and_the_validation_folds_are_not(run):
    row = {
        "attribute": "age",
        "group": "60+",
        "n": 9,
        "subjects": 3,
        "small": True,
        "value": 0.7,
        "low": 0.6,
        "high": 0.8,
    }
    made_evaluation(run.path / "evaluation", groups=[{**row, "measure": "accuracy"}])
    made_evaluation(run.path / "evaluation" / "mmi", corpus="mmi", n=7)
    made_evaluation(run.path / "evaluation" / "mmi-val", corpus="chosen")
    text = text_of(run)
    assert "| 1 | age | 60+ (too few for a conclusion) | 9 | 3 | 0.700 [0.600, 0.800] | – | – |" in text
    assert "| 2. Made 4 classes, test fold 0 | none | 7 |" in text
    assert "chosen" not in text
    assert "It was not evaluated by age" not in text


def test_what_has_no_interval_is_given_without_one(run):
    perfect = {"recall": 1.0, "recall_low": 1.0, "recall_high": 1.0, "support": 1.0}
    made_evaluation(run.path / "evaluation", per_class={**metrics()["per_class"], "anger": perfect})
    text = text_of(run)
    assert "| anger | 1.000 | 1 |" in text
    assert "95 % intervals by bootstrap over people" in text
    alone = {name: {**value, "low": None, "high": None} for name, value in metrics()["measures"].items()}
    made_evaluation(run.path / "evaluation", measures=alone, subjects=["anna"])
    text = text_of(run)
    assert "There are no intervals: a bootstrap over people needs several." in text
    assert "95 % intervals" not in text


def test_a_class_that_no_test_face_shows_is_named(run):
    nobody = {"recall": None, "recall_low": None, "recall_high": None, "support": 0.0}
    made_evaluation(run.path / "evaluation", per_class={**metrics()["per_class"], "anger": nobody})
    assert "No test face shows anger: how well that is recognised is not known." in text_of(run)


def test_how_it_was_trained_and_whether_the_last_epoch_was_the_best(run):
    best = {"val_loss": 0.4, "val_accuracy": 0.8, "val_uar": 0.7}
    recipe = {"optimizer": "adamw", "lr": 0.001, "batch_size": 32, "epochs": 4, "encoder": "scratch"}
    text = text_of(change(run, recipe=recipe, best={**best, "epoch": 4}))
    assert "Training: adamw, peak learning rate 0.001, batches of 32, at most 4 epochs." in text
    assert "The last of 4 epochs was the best" in text
    assert "was the best" not in text_of(change(run, recipe=recipe, best={**best, "epoch": 3}))


def test_what_the_packaged_model_was_trained_on_is_told_where_a_run_starts_from_it(run, monkeypatch):
    monkeypatch.setattr("fer_cli.pretrained.FOLDER", Path(pretrained.__file__).parent / pretrained.NAME)
    known = Run.open(pretrained.FOLDER).card["extra_data"][0]
    before = [{"fingerprint": known["fingerprint"], "fold": 0, "extra": True}]
    found = corpora_behind(change(run, unlisted=before))[-1]
    assert (found.owner.partition(",")[0], found.faces) == ("github.com/muxspace/facial_expressions", known["count"])
    assert not found.publishable


def test_the_most_frequent_mistakes_and_the_share_of_the_most_frequent_class(run):
    confusion = [[5, 1, 0, 0], [4, 6, 0, 0], [0, 0, 10, 0], [0, 0, 0, 10]]
    per_class = {**metrics()["per_class"]}
    per_class["neutral"] = {**per_class["neutral"], "support": 20.0}
    made_evaluation(run.path / "evaluation", classes=list(per_class), confusion=confusion, per_class=per_class)
    text = text_of(run)
    assert "anger called neutral (4 of 10), neutral called anger (1 of 6)" in text
    assert "| 0.500 |\n" in text


def test_a_paired_run_says_what_its_faces_were_compared_with(tmp_path):
    run = write_run(tmp_path / "run", features="both")
    made_evaluation(run.path / "evaluation")
    assert "Neutral access: given." in text_of(run)


def test_every_corpus_and_every_start_behind_the_weights_is_listed_with_its_terms(run):
    extra = {"name": "more", "corpus": "ravdess", "fingerprint": "1", "count": 5}
    before = [{"fingerprint": "2" * 64, "fold": 0, "extra": False}]
    dataset = {**run.card["dataset"], "corpus": "ckplus"}
    run = change(
        run,
        dataset=dataset,
        extra_data=[extra],
        unlisted=before,
        seen={"affectnet": [], "ckplus": ["S005"], "synthetic of seed 3": ["S001"]},
        recipe={"encoder": "imagenet", "backbone": "mobilenet_v3_small", "identity": "vggface2"},
    )
    assert [(each.name, each.publishable) for each in corpora_behind(run)] == [
        ("CK+", False),
        ("RAVDESS", True),
        ("AffectNet", False),
        ("Synthetic", True),
        (f"pictures of fingerprint {'2' * 16}", False),
    ]
    assert [(each.name, each.publishable) for each in weights_behind(run)] == [
        ("mobilenet_v3_small", True),
        ("vggface2", False),
    ]
    text = text_of(run)
    assert "University of Denver" in text
    assert corpora()["ckplus"].terms.condition in text


@pytest.mark.parametrize(
    ("recipe", "names"),
    [
        ({"encoder": "scratch"}, []),
        ({"encoder": "faces"}, ["faces"]),
        ({"encoder": "auto", "backbone": "vggface2"}, ["vggface2"]),
        ({"encoder": "imagenet", "backbone": "timm/resnet18"}, ["timm/resnet18"]),
        ({"backbone": "google/vit-base-patch16-224-in21k", "pretrained": True}, ["vit-base-patch16-224-in21k"]),
        ({"backbone": "tiny", "pretrained": True}, []),
        ({"backbone": "org/vit", "pretrained": True}, ["org/vit"]),
        ({"backbone": "org/vit", "pretrained": False}, []),
        ({"encoder": "/gone/one.pth"}, ["one.pth"]),
    ],
)
def test_the_weights_that_a_training_began_with(recipe, names, run):
    assert [each.name for each in weights_behind(change(run, recipe=recipe))] == names


def test_a_start_from_an_earlier_run_counts_with_what_that_began_with(run, tmp_path):
    before = write_run(tmp_path / "before", features="target", recipe={"encoder": "faces"})
    assert [each.name for each in weights_behind(change(run, recipe={"encoder": str(before.path)}))] == ["faces"]
    # In a circle it ends.
    circle = change(before, recipe={"encoder": str(before.path)})
    assert weights_behind(circle)


def test_a_card_is_written_again_unless_a_person_wrote_or_edited_it(run):
    path = run.path / "README.md"
    assert refresh(run) == str(path)
    assert is_own(path)
    made_evaluation(run.path / "evaluation", n=77)
    refresh(run)
    assert "| 77 |" in path.read_text()
    path.write_text(path.read_text().replace("Arranging", "Sorting"))
    edited = path.read_bytes()
    assert "is kept" in refresh(run)
    assert path.read_bytes() == edited
    path.write_text("# Mine\n")
    assert "is kept" in refresh(run)


def test_without_a_test_on_its_own_fold_there_is_none_and_a_damaged_one_is_said(run):
    metrics_file = run.path / "evaluation" / "metrics.json"
    metrics_file.write_text("{}")
    assert "is not written" in refresh(run)
    metrics_file.unlink()
    assert "fer evaluate" in refresh(run)
    assert not (run.path / "README.md").exists()


def test_equal_runs_have_equal_cards(run):
    refresh(run)
    before = (run.path / "README.md").read_bytes()
    refresh(run)
    assert (run.path / "README.md").read_bytes() == before


def test_a_package_keeps_its_own(run, tmp_path):
    made = Run.open(package(run, tmp_path / "out").path)
    before = (made.path / "README.md").read_bytes()
    assert refresh(made) == ""
    assert (made.path / "README.md").read_bytes() == before


def test_what_a_person_wrote_goes_into_a_package_unless_it_names_somebody(run, tmp_path):
    (run.path / "README.md").write_text("# Mine\n")
    assert (package(run, tmp_path / "out").path / "README.md").read_text() == "# Mine\n"
    change(run, seen={"made": ["berta-7"]})
    (run.path / "README.md").write_text("# Thanks to berta-7\n")
    with pytest.raises(RunError, match="berta-7"):
        package(Run.open(run.path), tmp_path / "other")
    (run.path / "README.md").write_text(f"# From {run.path}\n")
    with pytest.raises(RunError, match="folder"):
        package(Run.open(run.path), tmp_path / "other")


def test_every_corpus_says_whose_it_is():
    for kind in corpora().values():
        assert kind.terms.owner
        assert kind.terms.condition
        assert kind.terms.weights
    assert {name for name, kind in corpora().items() if kind.terms.publishable} == {"crema-d", "ravdess", "synthetic"}
