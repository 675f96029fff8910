"""A model that is a network and a recipe, and nothing else, trains, evaluates and predicts from the command line."""

import json
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypedDict

import torch
from annotated_doc import Doc
from annotated_types import Ge
from torch import Tensor, nn
from transformers import AutoModelForImageClassification, PretrainedConfig
from transformers.modeling_outputs import ImageClassifierOutput
from typer.testing import CliRunner

from fer_cli.cli import train
from fer_cli.cli.app import app
from fer_cli.models.base import TrainedModel
from fer_cli.options import Panel
from fer_cli.training.recipes import RECIPES
from fer_cli.training.recipes.base import BuildContext, GradientRecipe
from tests.made import made_dataset


class _Stored(TypedDict):
    grid: int
    id2label: dict[str, str]


class MosaicConfig(PretrainedConfig):
    model_type = "mosaic"
    stored = _Stored

    def __init__(self, grid: int = 3, **kwargs: Any):
        self.grid = grid
        super().__init__(**kwargs)


class MosaicModel(TrainedModel):
    """A linear classifier of a face's mean colours in a grid."""

    config_class = MosaicConfig
    main_input_name = "pixel_values"

    def __init__(self, config: MosaicConfig):
        super().__init__(config)
        self.encoder = nn.Sequential(nn.AdaptiveAvgPool2d(config.grid), nn.Flatten())
        self.classifier = nn.Linear(3 * config.grid**2, config.num_labels)
        self.post_init()

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None) -> ImageClassifierOutput:
        return ImageClassifierOutput(logits=self.classifier(self.features(pixel_values)))

    def _init_weights(self, module: nn.Module) -> None:
        pass


@dataclass(frozen=True, kw_only=True)
class MosaicRecipe(GradientRecipe):
    """Mean colours in a grid, and a linear classifier."""

    name: ClassVar[str] = "mosaic"
    grid: Annotated[int, Ge(1), Doc("Cells a side."), Panel("Model")] = 3

    def build(self, context: BuildContext) -> MosaicModel:
        return MosaicModel(MosaicConfig(grid=self.grid, **context.labels))


def fer(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(words), env={"COLUMNS": "100"})
    assert result.exit_code == code, f"{words}: {result.output}\n{result.exception!r}"
    return result.output


def test_a_network_and_a_recipe_are_all_that_a_model_is(tmp_path, monkeypatch):
    assert "mosaic" not in {kind.name for kind in RECIPES}
    monkeypatch.setattr(train.app, "registered_commands", list(train.app.registered_commands))
    # What is done for every recipe in fer_cli.training.recipes.
    train.add_model(MosaicRecipe)
    monkeypatch.chdir(tmp_path)
    made_dataset(tmp_path / "data" / "made")
    assert "--grid" in fer("train", "mosaic", "--help")
    assert "--grid 0" in fer("train", "mosaic", "--grid", "0", code=2)
    trained = fer("train", "mosaic", "--grid", "6", "--epochs", "40", "--lr", "0.1", "--device", "cpu")
    assert "accuracy" in trained
    run = tmp_path / "runs" / "mosaic-made-fold0"
    assert json.loads((run / "run.json").read_text())["recipe"]["grid"] == 6
    fer("evaluate", str(run), "--device", "cpu")
    assert json.loads((run / "evaluation" / "metrics.json").read_text())["accuracy"] > 0.9
    predicted = fer("predict", "data/made/images", "--detector", "none", "--device", "cpu", "--out", "found.csv")
    assert "Traceback" not in predicted
    assert len((tmp_path / "found.csv").read_text().splitlines()) == 1 + 36
    assert isinstance(AutoModelForImageClassification.from_pretrained(run), MosaicModel)


def test_ours_are_found_by_their_type_before_anybody_has_imported_them():
    from fer_cli.models.base import own_model

    for kind in RECIPES:
        assert own_model(f"fer-{kind.name}").config_class.model_type == f"fer-{kind.name}"
    assert own_model("fer-onnx") is own_model("fer-nothing") is own_model(3) is None


def test_a_model_that_explains_itself_gives_a_map_of_a_face():
    from fer_cli.training.recipes.classifier import ClassifierRecipe
    from fer_cli.training.recipes.disentangled import DisentangledRecipe
    from fer_cli.training.recipes.vit_se import ViTSERecipe
    from tests.made import CLASSES, made_model

    context = BuildContext(CLASSES, 64, ("P01", "P02"))
    small = {"encoder": "scratch", "backbone": "mobilenet_v3_small", "stage": 1, "identity": "none"}
    faces = torch.randn(2, 3, 64, 64)
    for model in (
        ClassifierRecipe(encoder="scratch", backbone="mobilenet_v3_small").build(context).eval(),
        made_model(),
        made_model(features="target"),
        DisentangledRecipe(**small).build(context).eval(),
        ViTSERecipe(backbone="tiny").build(context).eval(),
    ):
        neutral = faces[1:] if model.paired else None
        found = model.saliency(faces[:1], 1, neutral)
        assert found.dim() == 2
        assert found.shape[0] == found.shape[1]
        assert found.min() >= 0
        assert model.saliency_method in ("Grad-CAM", "attention rollout")
        assert model.features(faces).shape[0] == 2
