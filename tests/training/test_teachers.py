"""Teachers: trained models that label the pictures another one learns from."""

import dataclasses
import json

import pytest
import torch

from fer_cli.errors import ModelError, RunError, UsageError
from fer_cli.export.provenance import weights_behind
from fer_cli.models.classifier import ClassifierConfig, ClassifierModel
from fer_cli.models.preprocessing import Preprocessing
from fer_cli.runs.run import Run
from fer_cli.training.fit import fit
from fer_cli.training.optimizer import Teachers
from fer_cli.training.recipes.classifier import ClassifierRecipe
from fer_cli.training.recipes.difference import DifferenceRecipe
from tests.made import CLASSES, run_card

CPU = torch.device("cpu")
SEEN = Preprocessing(32, face_crop={"margin": 0.2})
SMALL = "mobilenet_v3_small"


@pytest.fixture
def teacher(tmp_path):
    """Writes a run whose model's logits are ``logits``, whatever it sees, and gives its folder."""

    def write(name, logits, classes=CLASSES, preprocessing=SEEN, **recipe):
        config = ClassifierConfig(
            backbone=SMALL, id2label=dict(enumerate(classes)), label2id={each: n for n, each in enumerate(classes)}
        )
        model = ClassifierModel(config)
        layer = model.output_layer
        torch.nn.init.zeros_(layer.weight)
        layer.bias.data = torch.tensor(logits)
        model.save_pretrained(tmp_path / name)
        preprocessing.save(tmp_path / name)
        card = run_card(classes)
        card["recipe"] |= recipe
        (tmp_path / name / "run.json").write_text(json.dumps(card))
        return tmp_path / name

    return write


def teachers(*folders, mix=None, **settings):
    recipe = ClassifierRecipe(teacher=tuple(map(str, folders)), **settings)
    return Teachers(recipe, CLASSES, SEEN, CPU, mix)


def share(place):
    """Logits of a model that is all but sure of the class at ``place``."""
    return [20.0 if each == place else 0.0 for each in range(len(CLASSES))]


PICTURES = torch.zeros(2, 3, 32, 32)


def test_a_label_is_in_part_its_own_and_in_part_the_mean_of_the_teachers(teacher):
    asked = teachers(teacher("one", share(0)), teacher("two", share(1)), teacher_weight=0.6)
    pictures, labels = asked(PICTURES, torch.tensor([0, 2]))
    assert torch.equal(pictures, PICTURES)
    expected = torch.zeros(2, len(CLASSES))
    expected[:, 0] = expected[:, 1] = 0.3
    expected[0, 0] += 0.4
    expected[1, 2] += 0.4
    torch.testing.assert_close(labels, expected, atol=1e-6, rtol=0)


def test_shares_of_votes_are_taught_as_labels_are(teacher):
    votes = torch.full((2, len(CLASSES)), 1 / len(CLASSES))
    _, labels = teachers(teacher("one", share(1)), teacher_weight=1.0)(PICTURES, votes)
    torch.testing.assert_close(labels, torch.eye(len(CLASSES))[[1, 1]], atol=1e-6, rtol=0)


def test_a_teacher_may_have_its_classes_in_another_order(teacher):
    folder = teacher("one", share(0), classes=CLASSES[::-1])
    _, labels = teachers(folder, teacher_weight=1.0)(PICTURES, torch.tensor([0, 0]))
    assert labels.argmax(dim=1).tolist() == [len(CLASSES) - 1] * 2


def test_teachers_see_the_pictures_as_they_are_mixed(teacher):
    def mix(pictures, labels):
        return pictures + 1, torch.nn.functional.one_hot(labels, len(CLASSES)) / 2

    pictures, labels = teachers(teacher("one", share(0)), mix=mix, teacher_weight=0.5)(PICTURES, torch.tensor([1, 1]))
    assert torch.equal(pictures, PICTURES + 1)
    torch.testing.assert_close(labels[0, :2], torch.tensor([0.5, 0.25]), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("preprocessing", "said"),
    [
        (dataclasses.replace(SEEN, size=48), "48 pixels, and this training has 32"),
        (dataclasses.replace(SEEN, grey=True), "without colours, and this training has in colour"),
        (dataclasses.replace(SEEN, face_crop={"margin": 0.5}), "margin of 0.5, and this training has 0.2"),
        (dataclasses.replace(SEEN, mean=(0.5, 0.5, 0.5)), "normalised by"),
    ],
)
def test_a_teacher_that_sees_pictures_otherwise_is_refused(teacher, preprocessing, said):
    with pytest.raises(ModelError, match=said):
        teachers(teacher("one", share(0), preprocessing=preprocessing))


def test_classes_of_a_teacher_that_are_not_learned_are_passed_over(teacher):
    folder = teacher("one", [9.0, 1.0, 1.0, 1.0], classes=("boredom", *CLASSES))
    _, labels = teachers(folder, teacher_weight=1.0)(PICTURES, torch.tensor([0, 0]))
    torch.testing.assert_close(labels, torch.full((2, 3), 1 / 3), atol=1e-6, rtol=0)


def test_a_teacher_that_lacks_a_class_is_refused(teacher):
    with pytest.raises(ModelError, match=f"without {CLASSES[-1]}"):
        teachers(teacher("one", [0.0, 0.0], classes=CLASSES[:-1]))


def test_logits_are_not_balanced_twice(teacher):
    folder = teacher("one", share(0), posthoc_adjustment=0.5)
    with pytest.raises(ModelError, match="balanced after training already") as caught:
        teachers(folder, posthoc_adjustment=0.5)
    assert "--posthoc-adjustment 0" in caught.value.hint
    teachers(folder)


@pytest.mark.parametrize("source", ["nowhere", "scratch"])
def test_a_teacher_that_is_no_run_is_refused(source):
    with pytest.raises(RunError, match=f"--teacher {source}: there is no run"):
        ClassifierRecipe(teacher=(source,)).teacher_folders()


def test_a_frozen_encoder_has_no_teacher():
    with pytest.raises(UsageError, match="a frozen encoder"):
        ClassifierRecipe(teacher=("faces",), freeze_encoder=True)


def test_a_teacher_of_pairs_is_refused(made, tmp_path):
    pairs = DifferenceRecipe(encoder="scratch", backbone=SMALL, epochs=1, batch_size=9)
    run = fit(pairs, made, tmp_path / "pairs", device="cpu")
    recipe = ClassifierRecipe(encoder="scratch", backbone=SMALL, teacher=(str(run.path),), epochs=1)
    with pytest.raises(ModelError, match="compares pairs"):
        fit(recipe, made, tmp_path / "student", device="cpu")
    assert not (tmp_path / "student").exists()


def test_a_student_learns_what_its_teacher_answers_and_not_what_the_labels_say(made, tmp_path, teacher):
    seen = Preprocessing(32, face_crop=made.crop)
    wrong = teacher("wrong", share(2), classes=made.protocol.classes, preprocessing=seen)
    recipe = ClassifierRecipe(
        encoder="scratch",
        backbone="resnet10_small",
        epochs=8,
        batch_size=9,
        patience=0,
        lr=3e-3,
        teacher=(str(wrong),),
        teacher_weight=1.0,
    )
    run = fit(recipe, made, tmp_path / "student", device="cpu")
    epochs = (run.path / "epochs.csv").read_text().splitlines()
    losses = [float(line.split(",")[1]) for line in epochs[1:]]
    assert losses[-1] < losses[0] / 2
    assert Run.open(run.path).card["recipe"]["teacher"] == [str(wrong)]


def test_a_student_has_seen_whom_its_teacher_has(made, tmp_path):
    recipe = ClassifierRecipe(encoder="scratch", backbone=SMALL, epochs=1, batch_size=9)
    before = fit(recipe, made, tmp_path / "teacher", device="cpu")
    student = dataclasses.replace(recipe, fold=1, teacher=(str(before.path),))
    with pytest.raises(RunError, match="subjects that fold 1 tests"):
        fit(student, made, tmp_path / "student", device="cpu")
    found = fit(dataclasses.replace(student, fold=0), made, tmp_path / "student", device="cpu")
    assert found.card["seen"] == before.card["seen"]


def test_the_card_names_what_taught(made, tmp_path):
    run = Run(tmp_path, run_card())
    run.card["recipe"]["teacher"] = ["faces"]
    assert ("faces", "a teacher") in {(source.name, source.role) for source in weights_behind(run)}
