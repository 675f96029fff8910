"""A packaged run: float16, calibrated, and nothing in it that names a person or a machine."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from fer_cli.corpora.image_folder import ImageFolder
from fer_cli.documents import read_seen, write_seen
from fer_cli.errors import ModelError, RunError, UsageError
from fer_cli.evaluation.calibration import tempered
from fer_cli.evaluation.leakage import check_leakage
from fer_cli.export import package as package_module
from fer_cli.export.package import package
from fer_cli.models import Classifier
from fer_cli.runs.run import Run, pseudonym, seen_behind, shared_subjects, unlisted_behind
from tests.pretrained.made import evaluated_run, made_evaluation, metrics


@pytest.fixture
def run(tmp_path) -> Run:
    return evaluated_run(tmp_path / "run")


def test_the_package_answers_as_the_run_does_at_the_temperature_of_its_evaluation(run, tmp_path):
    made = package(run, tmp_path / "out" / "faces")
    assert (made.temperature, made.fitted_on) == (1.5, 30)
    faces = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    before, after = (Classifier.load(path, "cpu").probabilities(faces) for path in (run.path, made.path))
    assert np.abs(after - tempered(before, 1.5)).max() < 0.01
    assert made.rounding < 0.02


def test_weights_are_stored_in_half_the_bytes(run, tmp_path):
    made = package(run, tmp_path / "faces")
    tensors = load_file(made.path / "model.safetensors")
    assert {each.dtype for each in tensors.values() if each.is_floating_point()} == {torch.float16}
    for name, tensor in load_file(run.path / "model.safetensors").items():
        assert torch.equal(tensors[name].to(tensor.dtype), tensor.half().to(tensor.dtype))
    assert made.size < 0.6 * (run.path / "model.safetensors").stat().st_size


def test_a_temperature_before_counts(run, tmp_path):
    config = json.loads((run.path / "config.json").read_text())
    (run.path / "config.json").write_text(json.dumps({**config, "softmax_temperature": 2.0}))
    assert package(run, tmp_path / "faces").temperature == 3.0


def test_no_subject_and_no_folder_is_named(run, tmp_path):
    made = package(run, tmp_path / "faces")
    for path in made.path.iterdir():
        content = path.read_bytes()
        if path.suffix == ".safetensors":
            # The header alone: among the numbers any three letters may stand.
            content = content[8 : 8 + int.from_bytes(content[:8], "little")]
        for word in (b"anna", b"P01", b"P02", b"P03", b"P04", b"Anna", str(tmp_path).encode()):
            assert word not in content, f"{path.name}: {word}"
    card = Run.open(made.path).card
    assert card["command"] == "fer train difference --data made --out=one --epochs 3"
    assert card["recipe"] == {"features": "target", "encoder": "before", "epochs": 3}


def test_the_subjects_are_recognised_by_their_hashes(run, made, tmp_path):
    published = package(run, tmp_path / "faces").path
    seen = seen_behind(published)
    assert seen == read_seen(published / "model.safetensors")
    assert seen["made"] == sorted(pseudonym("made", name) for name in ("P01", "P02", "P03"))
    assert shared_subjects(seen, "made", {"P01", "P03", "P09"}) == ["P01", "P03"]
    assert shared_subjects(seen, "other", {"P01"}) == []
    rows = made.samples(paired=False)
    with pytest.raises(RunError, match=r"3 of the made subjects in this test \(P01, P02, P03\)"):
        check_leakage(Run.open(published), made, rows, allow_seen=False)
    assert not check_leakage(Run.open(published), made, rows[rows["subject"] > "P03"], allow_seen=False)


def test_data_whose_people_are_not_listed_stay_known(run, tmp_path):
    card = json.loads((run.path / "run.json").read_text())
    before = [{"fingerprint": "1", "fold": 2, "extra": False}]
    own = {"name": "wild", "corpus": "files", "fingerprint": "2", "count": 5, "subjects": ["anna"]}
    card |= {"unlisted": before, "extra_data": [own], "seen": {**card["seen"], "files": ["anna"]}}
    (run.path / "run.json").write_text(json.dumps(card))
    published = package(Run.open(run.path), tmp_path / "faces").path
    assert unlisted_behind(published) == [*before, {"fingerprint": "2", "fold": card["fold"], "extra": True}]


def test_a_package_of_a_package_names_the_same_people(run, tmp_path):
    first = package(run, tmp_path / "one").path
    made_evaluation(first / "evaluation")
    second = package(Run.open(first), tmp_path / "two").path
    assert seen_behind(second) == seen_behind(first)


def test_the_card_has_the_scores_of_every_evaluation(run, tmp_path):
    other = made_evaluation(tmp_path / "other", corpus="wild", n=7)
    made = package(run, tmp_path / "faces", scores=[other])
    opened = Run.open(made.path)
    assert opened.about == ("faces: accuracy 80.0% [70.0%, 90.0%] of 40 (made), 80.0% [70.0%, 90.0%] of 7 (wild)")
    text = (made.path / "README.md").read_text()
    assert "| 2. Made 4 classes, test fold 0 | none | 7 | – | 0.800 [0.700, 0.900] |" in text
    assert "| made | training | – | 2 |" in text


def test_of_several_tests_on_a_corpus_the_one_on_the_most_samples_is_said(run, tmp_path):
    scored = {"value": 0.9, "low": 0.85, "high": 0.95}
    wide = made_evaluation(tmp_path / "wide", n=50, measures={**metrics()["measures"], "accuracy": scored})
    about = Run.open(package(run, tmp_path / "faces", scores=[wide]).path).about
    assert about == "faces: accuracy 90.0% [85.0%, 95.0%] of 50 (made)"


def test_of_a_folder_of_pictures_the_datasets_name_is_said(run, tmp_path):
    other = made_evaluation(tmp_path / "other", corpus="files", dataset="street", n=7)
    made = Run.open(package(run, tmp_path / "faces", scores=[other]).path)
    assert made.about.endswith("of 7 (street)")
    # Of an earlier package, which does not say it, the one that it was trained on.
    scores = [{**each, "dataset": ""} for each in made.card["scores"]]
    for names, said in ((["wild"], "wild"), (["wild", "street"], "files"), ([], "files")):
        extra = [{"name": name, "corpus": "files", "fingerprint": "2", "count": 5} for name in names]
        earlier = Run(made.path, {**made.card, "scores": scores, "extra_data": extra})
        assert earlier.about.endswith(f"of 7 ({said})")


def test_what_is_missing_or_in_the_way_is_said(run, tmp_path):
    (tmp_path / "faces").mkdir()
    with pytest.raises(UsageError, match="there already"):
        package(run, tmp_path / "faces")
    (run.path / "evaluation" / "metrics.json").unlink()
    with pytest.raises(RunError, match=r"no metrics\.json"):
        package(run, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_weights_beyond_float16_are_refused(run, tmp_path):
    tensors = load_file(run.path / "model.safetensors")
    next(each for each in tensors.values() if each.is_floating_point()).view(-1)[0] = 1e6
    save_file(tensors, run.path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match="float16"):
        package(run, tmp_path / "faces")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_folders_own_subjects_are_not_listed_and_notes_are_in_the_card(run, tmp_path):
    notes = tmp_path / "notes.md"
    write_seen(run.path / "model.safetensors", {"made": ["P01"], ImageFolder.name: ["0001"]})
    notes.write_text("## Licence\n\nAs it is.\n")
    published = package(run, tmp_path / "faces", notes=notes).path
    assert package_module.ANYBODYS == ImageFolder.name not in read_seen(published / "model.safetensors")
    assert (published / "README.md").read_text().endswith("## Licence\n\nAs it is.\n")
    with pytest.raises(UsageError, match=r"--notes .*gone\.md"):
        package(run, tmp_path / "other", notes=tmp_path / "gone.md")
