"""The network that a recipe builds, and the weights that it starts with: those that it was told, all of them."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, ViTConfig, ViTModel

from fer_cli.errors import ModelError, UsageError
from fer_cli.models import DifferenceConfig, DifferenceModel, DisentangledModel
from fer_cli.models.identity import IdentityConfig, IdentityModel
from fer_cli.training.recipes.base import BuildContext, Recipe
from fer_cli.training.recipes.classifier import ClassifierRecipe
from fer_cli.training.recipes.difference import DifferenceRecipe
from fer_cli.training.recipes.disentangled import DisentangledRecipe, IdentityRecipe
from fer_cli.training.recipes.vit_se import ViTSERecipe
from tests.made import run_card

SMALL, LARGE = "mobilenet_v3_small", "mobilenet_v3_large"
CLASSES = ("surprise", "anger", "fear")
START = BuildContext(CLASSES, 64, ("P3", "P5"))
STAGE_1 = DisentangledRecipe(stage=1, encoder="scratch", identity="none", backbone=SMALL)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Models, each in a folder: ``encoder``, ``identity``, and a ViT that transformers saved."""
    home = tmp_path_factory.mktemp("models")
    torch.manual_seed(3)
    DifferenceModel(DifferenceConfig(backbone=SMALL, features="target")).save_pretrained(home / "encoder")
    IdentityModel(IdentityConfig(backbone=SMALL)).save_pretrained(home / "identity")
    small = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12}
    ViTModel(ViTConfig(**small, image_size=32)).save_pretrained(home / "vit")
    return home


def built(recipe: Recipe) -> PreTrainedModel:
    """The model that the recipe builds, without its numbers, which is quick."""
    with torch.device("meta"):
        return recipe.build(START)


def equal(one: nn.Module, other: nn.Module) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def first_layer(network: nn.Module) -> Tensor:
    return next(network.parameters())


RECIPES = {
    "classifier": ClassifierRecipe(encoder="scratch", backbone=SMALL),
    "difference": DifferenceRecipe(encoder="scratch", backbone=SMALL),
    "stage 1": STAGE_1,
    "identity": IdentityRecipe(),
    "vit-se": ViTSERecipe(backbone="tiny"),
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_model_tells_the_classes_apart_in_their_order(name):
    config = built(RECIPES[name]).config
    assert config.id2label == {0: "surprise", 1: "anger", 2: "fear"}
    assert config.label2id == {"surprise": 0, "anger": 1, "fear": 2}


TOLD = (ClassifierRecipe(), DifferenceRecipe(), DisentangledRecipe(stage=1, identity="none"))


@pytest.mark.parametrize("features", ["both", "difference", "target"])
def test_the_head_takes_the_embedding_that_was_asked_for(features, home):
    scratch = DifferenceRecipe(encoder="scratch", backbone=SMALL, features=features)
    assert built(scratch).config.features == features
    assert dataclasses.replace(scratch, encoder=str(home / "encoder")).build(START).config.features == features


def test_a_classifier_has_the_head_that_was_asked_for_and_trains_its_encoder_unless_told_not_to(home):
    plain = RECIPES["classifier"]
    config = built(dataclasses.replace(plain, hidden=(16, 8), dropout=0.4)).config
    assert (list(config.hidden_sizes), config.dropout) == ([16, 8], 0.4)
    for encoder, freeze, tuned in (("encoder", False, True), ("encoder", True, False), ("scratch", True, True)):
        encoder = encoder if encoder == "scratch" else str(home / encoder)
        recipe = dataclasses.replace(plain, encoder=encoder, freeze_encoder=freeze)
        assert recipe.build(START).config.tune_encoder is tuned


@pytest.mark.parametrize("backbone", [SMALL, LARGE])
@pytest.mark.parametrize(
    "recipe", [RECIPES["classifier"], RECIPES["difference"], STAGE_1, IdentityRecipe()], ids=lambda recipe: recipe.title
)
def test_an_encoder_from_nothing_is_the_backbone_that_was_asked_for(recipe, backbone):
    model = built(dataclasses.replace(recipe, backbone=backbone))
    assert model.config.backbone == backbone
    assert model.encoder.width == {SMALL: 576, LARGE: 960}[backbone]


@pytest.mark.parametrize("recipe", TOLD, ids=lambda recipe: recipe.title)
def test_an_encoder_starts_with_the_weights_that_it_was_told_and_as_their_backbone(recipe, home):
    expected = DifferenceModel.from_pretrained(home / "encoder").encoder
    for place in ("encoder", "encoder/model.safetensors"):
        model = dataclasses.replace(recipe, encoder=str(home / place)).build(START)
        assert model.config.backbone == SMALL
        assert equal(model.encoder, expected)
    scratch = dataclasses.replace(recipe, encoder="scratch", backbone=SMALL).build(START)
    assert not torch.equal(first_layer(scratch.encoder), first_layer(expected))


@pytest.mark.parametrize("recipe", TOLD, ids=lambda recipe: recipe.title)
def test_weights_that_do_not_fit_the_backbone_are_refused_by_where_they_are(recipe, home):
    encoder = str(home / "encoder")
    with pytest.raises(ModelError) as caught:
        dataclasses.replace(recipe, encoder=encoder, backbone=LARGE).build(START)
    assert encoder in caught.value.message
    assert "--backbone" in caught.value.hint


def test_stage_1_has_the_identity_encoder_that_it_was_told(home):
    expected = IdentityModel.from_pretrained(home / "identity").encoder
    model = dataclasses.replace(STAGE_1, identity=str(home / "identity" / "model.safetensors")).build(START)
    assert model.config.identity == SMALL
    assert equal(model.identity, expected)
    assert STAGE_1.build(START).identity is None


def test_stage_1_has_the_identity_encoder_that_was_trained_for_it(home):
    recipe = dataclasses.replace(STAGE_1, identity="subjects")
    model = recipe.build(dataclasses.replace(START, parts={"identity": home / "identity"}))
    assert equal(model.identity, IdentityModel.from_pretrained(home / "identity").encoder)


def test_identity_weights_that_are_not_there_are_refused_by_what_was_typed(home):
    with pytest.raises(ModelError, match=r"nowhere\.safetensors") as caught:
        dataclasses.replace(STAGE_1, identity=str(home / "nowhere.safetensors")).build(START)
    assert "--identity" in caught.value.hint


def test_stage_1_keeps_identity_out_in_the_way_and_with_the_weight_that_was_asked_for(home):
    orthogonal = dataclasses.replace(STAGE_1, disentangle="orthogonal", identity=str(home / "identity")).build(START)
    assert (orthogonal.config.disentangle, orthogonal.config.disentangle_weight) == ("orthogonal", 1.0)
    for way, usual in (("concat", 0.0), ("adversarial", 0.1)):
        recipe = dataclasses.replace(STAGE_1, disentangle=way)
        config = built(recipe).config
        assert (config.disentangle, config.disentangle_weight, config.subjects) == (way, usual, 2)
        for weight in (0.25, 0.0):
            assert built(dataclasses.replace(recipe, disentangle_weight=weight)).config.disentangle_weight == weight


def test_stage_2_is_the_difference_on_the_frozen_emotion_encoder_of_stage_1(home, tmp_path):
    STAGE_1.build(START).save_pretrained(tmp_path / "stage1")
    expected = DisentangledModel.from_pretrained(tmp_path / "stage1").encoder
    named = DisentangledRecipe(stage=2, encoder=str(tmp_path / "stage1")).build(START)
    trained = DisentangledRecipe().build(dataclasses.replace(START, parts={"stage1": tmp_path / "stage1"}))
    for model in (named, trained):
        assert isinstance(model, DifferenceModel)
        assert model.config.features == "both"
        assert model.config.tune_encoder is False
        assert equal(model.encoder, expected)


def test_stage_2_of_a_fold_is_built_on_stage_1_of_that_fold(home, tmp_path):
    for fold in (0, 1):
        STAGE_1.build(START).save_pretrained(tmp_path / f"fold{fold}")
    encoder = DisentangledRecipe(stage=2, encoder=str(tmp_path), fold=1).build(START).encoder
    expected = [DisentangledModel.from_pretrained(tmp_path / f"fold{fold}").encoder for fold in (0, 1)]
    assert [equal(encoder, other) for other in expected] == [False, True]


def test_stage_2_says_what_it_lacks_and_what_to_type():
    for encoder, lack in ((None, "none was named"), ("nowhere", "nowhere is not a folder")):
        with pytest.raises(UsageError, match=rf"^Stage 2 starts from a run of stage 1, and {lack}\.$") as caught:
            DisentangledRecipe(stage=2, encoder=encoder).build(START)
        assert caught.value.hint.startswith("Type fer train disentangled --stage 1 first")
        assert "--encoder RUN" in caught.value.hint


def test_stage_2_names_the_folder_whose_weights_do_not_fit(tmp_path, home):
    (tmp_path / "stage1").mkdir()
    with pytest.raises(ModelError, match="stage1"):
        DisentangledRecipe(stage=2, encoder=str(tmp_path / "stage1")).build(START)


@pytest.mark.parametrize("pooling", ["class-token", "pooler"])
def test_a_vit_starts_with_the_weights_that_it_was_told_and_the_gate_that_was_asked_for(pooling, home):
    settings = {"pooling": pooling, "se_reduction": 3, "se_gate": "relu"}
    model = ViTSERecipe(backbone=str(home / "vit"), **settings).build(START)
    published = ViTModel.from_pretrained(home / "vit").state_dict()
    own = model.vit.state_dict()
    assert own
    assert all(torch.equal(published[name], tensor) for name, tensor in own.items())
    # A pooler is taken over where it is asked for, and only there.
    assert any("pooler" in name for name in own) == (pooling == "pooler")
    config = model.config
    assert (config.pooling, config.se_reduction, config.se_gate) == (pooling, 3, "relu")
    assert (config.vit.hidden_size, config.vit.image_size) == (24, 32)


def test_a_vit_from_nothing_has_the_architecture_and_none_of_the_weights(home):
    model = ViTSERecipe(backbone=str(home / "vit"), pretrained=False).build(START)
    assert (model.config.vit.hidden_size, model.config.vit.image_size) == (24, 64)
    published = ViTModel.from_pretrained(home / "vit")
    own, theirs = (network.embeddings.patch_embeddings.projection.weight for network in (model.vit, published))
    assert own.shape == theirs.shape
    assert not torch.equal(own, theirs)


@pytest.mark.parametrize("pretrained", [True, False])
def test_the_vit_for_trials_has_no_weights_to_start_from_and_the_pictures_size(pretrained):
    config = ViTSERecipe(backbone="tiny", pretrained=pretrained).build(START).config
    assert (config.vit.hidden_size, config.vit.image_size) == (96, 64)


def test_weights_behind_a_training_are_those_that_it_was_told(tmp_path):
    run, part = tmp_path / "run", tmp_path / "part"
    both = {"identity": part}
    for nothing in ("imagenet", "scratch"):
        assert ClassifierRecipe(encoder=nothing).ancestors({}) == []
        assert DifferenceRecipe(encoder=nothing).ancestors({}) == []
        assert DisentangledRecipe(stage=1, encoder=nothing).ancestors({}) == []
    assert ClassifierRecipe(encoder=str(run)).ancestors(both) == [part, run]
    assert DifferenceRecipe(encoder=str(run)).ancestors({}) == [run]
    assert DifferenceRecipe(encoder=str(run)).ancestors(both) == [part, run]
    assert DifferenceRecipe(encoder="scratch").ancestors(both) == [part]
    assert DisentangledRecipe(stage=1).ancestors(both) == [part]
    for named in ("vggface2", "subjects", "none"):
        assert DisentangledRecipe(stage=1, encoder=str(run), identity=named).ancestors({}) == [run]
    assert DisentangledRecipe(stage=1, encoder="scratch", identity="id.pth").ancestors({}) == [Path("id.pth")]
    assert set(DisentangledRecipe(stage=1, encoder=str(run), identity="id.pth").ancestors(both)) == {
        part,
        run,
        Path("id.pth"),
    }
    # Both stages: what stage 1 started from is behind stage 1.
    assert DisentangledRecipe(encoder=str(run), identity="id.pth").ancestors({"stage1": part}) == [part]
    assert IdentityRecipe().ancestors({}) == []


def test_behind_stage_2_is_the_run_of_stage_1_that_it_starts_from(tmp_path):
    for folder in (tmp_path, tmp_path / "fold1"):
        folder.mkdir(exist_ok=True)
        (folder / "run.json").write_text(json.dumps(run_card()))
    stage_2 = DisentangledRecipe(stage=2, encoder=str(tmp_path), identity="id.pth")
    assert stage_2.ancestors({}) == [tmp_path]
    assert dataclasses.replace(stage_2, fold=1).ancestors({}) == [tmp_path / "fold1"]


def test_behind_a_vit_is_the_folder_that_it_starts_from(home):
    folder = str(home / "vit")
    assert ViTSERecipe(backbone=folder).ancestors({}) == [home / "vit"]
    assert ViTSERecipe(backbone=folder, pretrained=False).ancestors({}) == []
    assert ViTSERecipe(backbone="google/of-the-hub").ancestors({}) == []
    assert ViTSERecipe(backbone="google/of-the-hub", pretrained=False).ancestors({}) == []
