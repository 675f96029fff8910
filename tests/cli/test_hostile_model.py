"""A model's folder runs no code of its own, and no library asks for leave on the standard input."""

import json
import shutil

import pytest
from PIL import Image
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor
from typer.testing import CliRunner

from fer_cli.cli.app import app
from fer_cli.errors import FerError
from fer_cli.prediction.predictor import Predictor
from tests.made import CLASSES, made_dataset
from tests.prediction.runs import write_run

CODE = """
import pathlib
pathlib.Path({canary!r}).touch()
from transformers import PretrainedConfig, ViTForImageClassification, ViTImageProcessor
class Config(PretrainedConfig):
    model_type = "evil"
class Model(ViTForImageClassification):
    pass
class Processor(ViTImageProcessor):
    pass
"""
HOMES = {
    "AutoConfig": "evil.Config",
    "AutoModel": "evil.Model",
    "AutoModelForImageClassification": "evil.Model",
    "AutoImageProcessor": "evil.Processor",
}
TINY = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a picture, a dataset, two runs on it, and a ViT that others saved."""
    home = tmp_path_factory.mktemp("home")
    dataset = made_dataset(home / "made")
    Image.new("RGB", (40, 40), "grey").save(home / "picture.png")
    told = {"path": str(dataset.path), "name": "made", "corpus": "made", "fingerprint": dataset.fingerprint}
    write_run(home / "run", features="target", dataset=told, protocol=dataset.protocol.to_dict())
    write_run(home / "pairs", features="both")
    labels = {"id2label": dict(enumerate(CLASSES)), "label2id": {name: place for place, name in enumerate(CLASSES)}}
    ViTForImageClassification(ViTConfig(image_size=32, patch_size=16, **TINY, **labels)).save_pretrained(home / "vit")
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(home / "vit")
    return home


@pytest.fixture
def here(home, tmp_path, monkeypatch):
    """A copy of it to stand in."""
    here = shutil.copytree(home, tmp_path / "here")
    monkeypatch.chdir(here)
    return here


def spoilt(folder, model_type):
    """Make ``folder`` name code that lies in it; the type of its model stays where ``model_type`` is None."""
    canary = folder.parent / "CANARY"
    (folder / "evil.py").write_text(CODE.format(canary=str(canary)))
    for name in ("config.json", "preprocessor_config.json"):
        stored = json.loads((folder / name).read_text())
        stored["auto_map"] = HOMES
        if name == "config.json" and model_type:
            stored["model_type"] = model_type
        if name == "preprocessor_config.json" and model_type:
            stored["image_processor_type"] = "Processor"
        (folder / name).write_text(json.dumps(stored))
    return canary


ON_A_PICTURE = ("picture.png", "--detector", "none", "--device", "cpu", "--runtime", "torch")
TRAINED = ("--data", "made", "--epochs", "1", "--out", "new", "--device", "cpu")
DOORS = {
    "predict --run": ("run", "predict", *ON_A_PICTURE, "--run", "run"),
    "predict --model": ("vit", "predict", *ON_A_PICTURE, "--model", "vit"),
    "predict --model with a run": ("run", "predict", *ON_A_PICTURE, "--model", "run"),
    "predict --neutral-classifier": (
        "vit",
        *("predict", *ON_A_PICTURE, "--run", "pairs", "--neutral", "auto", "--neutral-classifier", "vit"),
    ),
    "predict --identity": ("run", "predict", *ON_A_PICTURE, "--run", "pairs", "--neutral", "auto", "--identity", "run"),
    "evaluate": ("run", "evaluate", "run", "--device", "cpu"),
    "export": ("run", "export", "run"),
    "train vit-se --backbone": ("vit", "train", "vit-se", "--backbone", "vit", *TRAINED),
    "train vit-se --backbone, its shape only": (
        "vit",
        *("train", "vit-se", "--no-pretrained", "--backbone", "vit", *TRAINED),
    ),
    "train difference --encoder": ("run", "train", "difference", "--encoder", "run", "--fold", "1", *TRAINED),
    "train disentangled --identity": (
        "run",
        *("train", "disentangled", "--stage", "1", "--encoder", "scratch", "--identity", "run", *TRAINED),
    ),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("model_type", ["evil", "vit", None])
def test_code_beside_a_model_is_not_run_at_any_door(here, monkeypatch, door, model_type):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a library asked on the standard input"))
    folder, *words = DOORS[door]
    canary = spoilt(here / folder, model_type)
    result = CliRunner().invoke(app, words, input="y\n" * 9)
    assert not canary.exists()
    assert result.exit_code in (0, 1), f"{result.output}\n{result.exception!r}"
    assert result.exception is None or isinstance(result.exception, SystemExit)
    if model_type == "evil" and "--encoder" not in door and "--identity" not in door:
        assert result.exit_code == 1
        assert "error" in result.output


@pytest.mark.parametrize("folder", ["run", "vit"])
def test_a_predictor_runs_no_code_either(here, monkeypatch, folder):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a library asked on the standard input"))
    canary = spoilt(here / folder, "evil")
    with pytest.raises(FerError):
        Predictor(here / folder, detector="none", device="cpu")
    assert not canary.exists()


def test_the_list_of_pictures_on_the_standard_input_is_left_to_the_program(here):
    shutil.copytree(here / "run", here / "whole")
    spoilt(here / "run", "evil")
    words = ("predict", "-", "--detector", "none", "--device", "cpu", "--runtime", "torch", "--run")
    refused = CliRunner().invoke(app, [*words, "run"], input="y\npicture.png\n")
    assert refused.exit_code == 1
    assert "evil model, which is not one of fer's" in refused.output
    assert CliRunner().invoke(app, [*words, "whole"], input="picture.png\n").exit_code == 0
