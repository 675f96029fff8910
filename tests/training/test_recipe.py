import dataclasses
import json
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.errors import DatasetError, ModelError, UsageError
from fer_cli.protocol import Protocol
from fer_cli.training.recipes import RECIPES
from fer_cli.training.recipes.base import BuildContext, Recipe
from fer_cli.training.recipes.classifier import ClassifierRecipe
from fer_cli.training.recipes.difference import DifferenceRecipe
from fer_cli.training.recipes.disentangled import DisentangledRecipe, IdentityRecipe
from fer_cli.training.recipes.vit_se import ViTSERecipe
from tests.made import CLASSES

START = BuildContext(("fear", "anger"), 64)


@pytest.mark.parametrize(
    ("setting", "flag"),
    [
        ({"fold": -1}, "--fold"),
        ({"epochs": 0}, "--epochs"),
        ({"batch_size": 1}, "--batch-size"),
        ({"lr": 0.0}, "--lr"),
        ({"lr": float("nan")}, "--lr"),
        ({"size": 8}, "--size"),
        ({"seed": -1}, "--seed"),
        ({"accumulate": 0}, "--accumulate"),
        ({"warmup": 1.0}, "--warmup"),
        ({"label_smoothing": -0.1}, "--label-smoothing"),
        ({"views": 0}, "--views"),
        ({"clip": float("nan")}, "--clip"),
        ({"ema": 1.0}, "--ema"),
        ({"encoder_lr": 0.0}, "--encoder-lr"),
        ({"layer_decay": 1.1}, "--layer-decay"),
        ({"freeze_epochs": -1}, "--freeze-epochs"),
        ({"logit_adjustment": -0.1}, "--logit-adjustment"),
        ({"logger": ("tensorbored",)}, "--logger tensorbored"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused_by_its_flag(setting, flag):
    with pytest.raises(UsageError, match=flag):
        DifferenceRecipe(**setting)


LEAST = {"fold": 0, "epochs": 1, "patience": 0, "batch_size": 2, "accumulate": 1, "size": 32, "views": 1, "seed": 0}
LEAST |= {"weight_decay": 0.0, "clip": 0.0, "warmup": 0.0, "label_smoothing": 0.0, "lr": 1.0}


@pytest.mark.parametrize("setting", LEAST)
def test_the_least_that_can_be_meant_is_taken_and_what_is_past_it_refused(setting):
    value = LEAST[setting]
    assert getattr(DifferenceRecipe(**{setting: value}), setting) == value
    past = 1.001 if setting == "lr" else value - (1 if isinstance(value, int) else 0.001)
    with pytest.raises(UsageError, match=f"--{setting.replace('_', '-')} {past}"):
        DifferenceRecipe(**{setting: past})


@pytest.mark.parametrize("setting", ["warmup", "label_smoothing"])
def test_a_part_is_less_than_the_whole(setting):
    assert getattr(DifferenceRecipe(**{setting: 0.99}), setting) == 0.99
    with pytest.raises(UsageError, match="less than 1"):
        DifferenceRecipe(**{setting: 1.0})


def test_scratch_implies_a_tuned_encoder_and_nothing_else_does(tmp_path):
    build = {"backbone": "mobilenet_v3_small"}
    scratch = DifferenceRecipe(encoder="scratch", **build).build(START)
    assert scratch.config.tune_encoder
    scratch.save_pretrained(tmp_path)
    for tune in (False, True):
        model = DifferenceRecipe(encoder=str(tmp_path), tune_encoder=tune, **build).build(START)
        assert model.config.tune_encoder is tune


def test_an_encoder_that_is_nothing_is_refused():
    with pytest.raises(ModelError, match="no weights at"):
        DifferenceRecipe(encoder="imagenett").build(START)


def test_only_target_needs_no_pairs():
    assert [DifferenceRecipe(features=features).paired for features in ("both", "difference", "target")] == [
        True,
        True,
        False,
    ]


KINDS = (ClassifierRecipe, ViTSERecipe, DifferenceRecipe, DisentangledRecipe)


@pytest.mark.parametrize("kind", KINDS)
def test_published_settings_are_settings_that_the_recipe_has_and_takes(kind):
    for published in kind.published.values():
        settings = dataclasses.asdict(published())
        assert dataclasses.asdict(kind(**settings)).items() >= settings.items()


def test_the_notes_recipe_is_the_notes():
    note = DifferenceRecipe(**dataclasses.asdict(DifferenceRecipe.published["note"]()))
    assert (note.optimizer, note.batch_size, note.epochs, note.schedule) == ("adam", 32, 30, "constant")
    assert (note.label_smoothing, note.class_weights, note.clip, note.augment) == (0, False, 0, "none")
    assert note.patience == note.weight_decay == note.warmup == 0


def test_the_papers_recipe_is_its_authors():
    paper = ViTSERecipe(**dataclasses.asdict(ViTSERecipe.published["paper"]()))
    assert (paper.optimizer, paper.lr, paper.batch_size, paper.epochs) == ("adamw", 1e-4, 8, 30)
    assert (paper.schedule, paper.se_reduction, paper.se_gate, paper.pooling) == ("step", 2, "sigmoid", "class-token")
    assert (paper.augment, paper.clip, paper.warmup, paper.patience) == ("paper", 0, 0, 0)
    # Torch's own AdamW, which the author does not tell otherwise.
    assert paper.weight_decay == torch.optim.AdamW([torch.zeros(1)]).defaults["weight_decay"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_recipe_comes_back_from_its_json(kind):
    recipe = kind(epochs=7, logger=("none",))
    stored = {name: tuple(value) if isinstance(value, list) else value for name, value in recipe.to_dict().items()}
    assert kind(**stored) == recipe


def test_a_recipe_is_written_in_json():
    for recipe in (DifferenceRecipe(logger=("wandb", "mlflow")), ViTSERecipe(), DisentangledRecipe()):
        written = recipe.to_dict()
        assert json.loads(json.dumps(written)) == written
    assert DifferenceRecipe(logger=("wandb", "mlflow")).to_dict()["logger"] == ["wandb", "mlflow"]


def test_where_to_log_is_one_of_the_names_that_the_error_says():
    with pytest.raises(UsageError, match=r"^--logger tensorbored: not a place to log to\.$") as caught:
        DifferenceRecipe(logger=("wandb", "tensorbored"))
    assert caught.value.hint == "Type tensorboard, wandb, mlflow, none."


def test_the_recipes_that_are_trained_alone_are_found_by_name():
    """The identity encoder is trained only as a part of another, and has no command."""
    assert [kind.name for kind in RECIPES] == sorted(kind.name for kind in RECIPES)
    assert {ClassifierRecipe, ViTSERecipe, DifferenceRecipe, DisentangledRecipe} <= set(RECIPES)
    assert not {Recipe, IdentityRecipe} & set(RECIPES)
    assert all(issubclass(kind, Recipe) and kind.trained_alone for kind in RECIPES)


SINGLE = (
    ClassifierRecipe(fold=2),
    ViTSERecipe(fold=2),
    DifferenceRecipe(features="target", fold=2),
    DisentangledRecipe(stage=1, fold=2),
)
PAIRED = (
    DifferenceRecipe(fold=2),
    DifferenceRecipe(features="target", pairs_only=True, fold=2),
    DifferenceRecipe(features="difference", fold=2),
    DisentangledRecipe(fold=2),
    DisentangledRecipe(stage=2, fold=2),
)


@pytest.mark.parametrize("recipe", [*SINGLE, *PAIRED], ids=lambda recipe: f"{recipe.title}-{recipe.paired}")
def test_faces_without_a_neutral_picture_are_for_recipes_that_compare_none(recipe, made):
    metadata = pd.read_csv(made.path / "metadata.csv", dtype="string")
    metadata.loc[metadata["file_name"].isin([f"images/P0{n}/anger.png" for n in (1, 2, 3)]), "neutral_file_name"] = None
    metadata.to_csv(made.path / "metadata.csv", index=False)
    sides = recipe.sides(PreparedDataset.open(made.path))
    tested, trained = ["P03", "P06", "P09"], ["P02", "P05", "P08"]
    assert {side: sorted(rows["subject"].unique()) for side, rows in sides.items()} == {
        "train": trained,
        "val": ["P01", "P04", "P07"],
        "test": tested,
    }
    count = 9 if recipe in SINGLE else 8
    assert {side: len(rows) for side, rows in sides.items()} == {"train": count, "val": count, "test": count}
    assert set().union(*(rows["label"] for rows in sides.values())) == set(CLASSES)


def of(classes: tuple[str, ...], **labels: str):
    """A dataset of these classes, and the rows of its sides by their labels, in words."""
    dataset = SimpleNamespace(protocol=Protocol("Made", classes, "stills", 3, "id-step"))
    return dataset, {side: pd.DataFrame({"label": words.split()}) for side, words in labels.items()}


def test_classes_are_those_shown_in_the_protocols_order():
    dataset, sides = of(
        ("surprise", "fear", "anger"), train="anger surprise anger", val="anger", test="surprise surprise"
    )
    assert ViTSERecipe().classes(dataset, sides) == ("surprise", "anger")


def test_classes_that_are_not_shown_in_training_are_named_and_what_to_type():
    dataset, sides = of(
        ("surprise", "fear", "anger", "disgust"), train="anger disgust", val="surprise anger", test="fear"
    )
    with pytest.raises(DatasetError, match=r"^The training folds show no fear, surprise, which") as caught:
        ViTSERecipe().classes(dataset, sides)
    assert caught.value.hint.startswith("Type another --fold")
    assert "--folds" in caught.value.hint


@pytest.mark.parametrize("recipe", [ViTSERecipe(), DifferenceRecipe(pairs_only=True), DisentangledRecipe(stage=1)])
def test_a_recipe_that_compares_nothing_is_trained_as_it_is(recipe):
    assert recipe.variants() == {"": recipe}


def test_an_ablation_is_the_same_recipe_with_each_of_the_features_on_pairs():
    recipe = DifferenceRecipe(ablation=True, features="difference", epochs=7, fold=1, backbone="mobilenet_v3_small")
    one = dataclasses.replace(recipe, ablation=False, pairs_only=True)
    expected = {features: dataclasses.replace(one, features=features) for features in ("target", "difference", "both")}
    assert recipe.variants() == expected
    assert list(recipe.variants()) == list(expected)


def test_both_stages_train_stage_1_first_and_stage_1_the_identity_encoder_of_the_subjects():
    both = DisentangledRecipe(
        identity="subjects", encoder="scratch", epochs=7, fold=1, seed=5, lr=0.01, size=64, select="uar", tta="flip"
    )
    assert both.prerequisites() == {"stage1": dataclasses.replace(both, stage=1)}
    [(name, identity)] = dataclasses.replace(both, stage=1).prerequisites().items()
    assert name == "identity"
    assert isinstance(identity, IdentityRecipe)
    # It is trained as stage 1 is, but for what is about expressions.
    assert (identity.epochs, identity.fold, identity.seed, identity.lr, identity.size) == (7, 1, 5, 0.01, 64)
    assert (identity.select, identity.tta) == ("loss", "none")
    assert (identity.margin, identity.logit_margin, both.logit_margin) == (0.0, 0.0, 0.0)
    [margined] = dataclasses.replace(both, stage=1, identity_margin=0.25).prerequisites().values()
    assert (margined.margin, margined.logit_margin) == (0.25, 6.0)
    assert identity.prerequisites() == {}


@pytest.mark.parametrize(
    "recipe",
    [
        DisentangledRecipe(stage=2, identity="subjects"),
        DisentangledRecipe(stage=1, identity="none"),
        DisentangledRecipe(stage=1, identity="runs/identity"),
        DifferenceRecipe(),
        ViTSERecipe(),
    ],
)
def test_nothing_else_is_trained_first(recipe):
    assert recipe.prerequisites() == {}


def test_an_adversary_is_told_each_subject_by_its_place_among_those_trained():
    adversarial = DisentangledRecipe(stage=1, disentangle="adversarial")
    rows = pd.DataFrame({"subject": ["P5", "P3", "P5"]}, dtype="string")
    context = dataclasses.replace(START, subjects=("P3", "P5"))
    found = adversarial.extra_inputs(rows, context)
    assert list(found) == ["subjects"]
    assert found["subjects"].tolist() == [1, 0, 1]
    for other in (dataclasses.replace(adversarial, stage=2), dataclasses.replace(adversarial, disentangle="concat")):
        assert other.extra_inputs(rows, context) == {}
    assert ViTSERecipe().extra_inputs(rows, context) == {}


@pytest.mark.parametrize(("subjects", "known"), [(["P3", None], ("P3", "P5")), (["P3", "P3"], ("P3",))])
def test_an_adversary_needs_two_subjects_and_all_of_them_named(subjects, known):
    adversarial = DisentangledRecipe(stage=1, disentangle="adversarial")
    rows = pd.DataFrame({"subject": subjects}, dtype="string")
    with pytest.raises(DatasetError, match=r"^--disentangle adversarial needs to know who is shown") as caught:
        adversarial.extra_inputs(rows, dataclasses.replace(START, subjects=known))
    assert caught.value.hint.startswith("Type --disentangle ")


@pytest.mark.parametrize("fold", [0, 1])
def test_the_identity_encoder_learns_the_subjects_of_its_folds_training_and_needs_two(fold, made):
    metadata = pd.read_csv(made.path / "metadata.csv", dtype="string")
    # One of the training subjects has no neutral picture, and shows nothing that is compared.
    [alone, *_, gone] = trained = [f"P0{(fold + 2) % 3 + 1 + step}" for step in (0, 3, 6)]
    metadata.loc[metadata["subject"] == alone, "neutral_file_name"] = None
    metadata[metadata["subject"] != gone].to_csv(made.path / "metadata.csv", index=False)
    sides = IdentityRecipe(fold=fold).sides(PreparedDataset.open(made.path))
    assert set(sides["train"]["label"]) == set(sides["val"]["label"]) == set(trained[:2])
    assert sides["test"].empty


@pytest.mark.parametrize(
    ("recipe", "title"),
    [
        (DifferenceRecipe(), "difference"),
        (DifferenceRecipe(ablation=True), "difference-ablation"),
        (DisentangledRecipe(), "disentangled"),
        (DisentangledRecipe(stage=1), "disentangled-stage1"),
        (DisentangledRecipe(stage=2), "disentangled"),
        (ViTSERecipe(), "vit-se"),
        (ClassifierRecipe(), "classifier"),
    ],
)
def test_a_run_is_called_after_what_is_trained(recipe, title):
    assert recipe.title == title
