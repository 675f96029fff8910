"""The packaged models: whole or refused, and named only where nothing else of its name is meant."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fer_cli import Predictor, pretrained
from fer_cli.dataset.tensors import Crops
from fer_cli.errors import ModelError
from fer_cli.export.onnx import export
from fer_cli.labels import EXPRESSIONS
from fer_cli.models import FLIP, INT8_GRAPH, Classifier
from fer_cli.models.onnx import open_session, run_graph, with_runtime
from fer_cli.prediction.predictor import open_model
from fer_cli.pretrained import CHECKSUMS, NAMES, is_packaged, packaged_model, require_packaged
from fer_cli.runs.run import Run
from tests.made import made_dataset


def test_a_whole_folder_is_the_packaged_model(packaged):
    assert packaged_model() == require_packaged() == packaged
    assert packaged_model("faces-quick") == require_packaged("faces-quick") == packaged.with_name("faces-quick")
    assert "neutral" in Classifier.load(packaged, "cpu").classes


def test_without_the_folder_there_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    assert packaged_model() is None
    with pytest.raises(ModelError, match="no packaged model"):
        require_packaged()


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "run.json", "README.md"])
def test_a_damaged_file_is_named_with_what_to_do(packaged, name):
    content = bytearray((packaged / name).read_bytes())
    content[len(content) // 2] ^= 1
    (packaged / name).write_bytes(content)
    with pytest.raises(ModelError, match="checksum") as caught:
        packaged_model()
    assert str(packaged / name) in caught.value.message
    assert "pip install --force-reinstall" in caught.value.hint


def test_a_missing_file_is_named(packaged):
    (packaged / "config.json").unlink()
    with pytest.raises(ModelError, match=r"config\.json cannot be read"):
        packaged_model()


@pytest.mark.parametrize("text", ["", "nonsense", f"{'0' * 64}  ../run.json"])
def test_a_list_that_is_none_is_refused(packaged, text):
    (packaged / CHECKSUMS).write_text(text)
    with pytest.raises(ModelError, match=CHECKSUMS):
        packaged_model()


def test_what_lies_here_under_the_same_name_comes_first_if_it_is_a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_packaged("faces")
    assert not is_packaged("runs/faces")
    assert not is_packaged(None)
    # A folder of pictures is no run.
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "001.jpg").touch()
    assert is_packaged("faces")
    (tmp_path / "faces" / "run.json").touch()
    assert not is_packaged("faces")
    assert is_packaged("faces-quick")


@pytest.fixture(params=NAMES)
def installed(monkeypatch, request) -> Path:
    """The folder of a model that comes with fer."""
    monkeypatch.setattr(pretrained, "FOLDER", Path(pretrained.__file__).parent / "faces")
    return require_packaged(request.param)


def test_what_comes_with_fer_is_whole_small_and_labels_eight_expressions(installed):
    folder = installed
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    assert sizes.pop(INT8_GRAPH, 0) < 4_500_000
    assert sum(sizes.values()) <= {"faces": 8_000_000, "faces-quick": 2_500_000}[folder.name]
    run = Run.open(folder)
    assert {each["corpus"] for each in run.card["scores"]} == {"fer2013", "files"}
    classifier = Classifier.load(folder, "cpu")
    assert sorted(classifier.classes) == sorted(EXPRESSIONS)
    grey = torch.randint(0, 256, (3, 1, 80, 80), dtype=torch.uint8).expand(-1, 3, -1, -1)
    shares = classifier.probabilities(grey)
    assert shares.shape == (3, 8)
    assert np.allclose(shares.sum(axis=1), 1, atol=1e-5)
    if classifier.tta == FLIP:
        assert np.allclose(shares, classifier.probabilities(grey.flip(-1)), atol=1e-5)


def test_torch_onnx_runtime_and_the_exported_file_give_it_the_same_probabilities(installed, tmp_path):
    crops = torch.randint(0, 256, (5, 3, 80, 80), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    classifier = Classifier.load(installed, "cpu")
    expected = classifier.probabilities(crops)
    graph, about = with_runtime(classifier, "onnxruntime")
    assert about.startswith("onnxruntime")
    assert np.abs(graph.probabilities(crops) - expected).max() < 1e-5
    session = open_session(export(Run.open(installed), tmp_path / "model.onnx").path)
    logits = run_graph(session, {"pixel_values": classifier.preprocessing(crops)})
    assert np.abs(torch.softmax(torch.from_numpy(logits), dim=1).numpy() - expected).max() < 1e-5


@pytest.mark.parametrize("installed", ["faces"], indirect=True)
def test_in_8_bit_integers_it_names_the_same_expressions(installed, tmp_path):
    data = made_dataset(tmp_path / "data", size=64, margin=0.05)
    small = export(Run.open(installed), tmp_path / "small.onnx", quantize=True, data=data.path)
    assert small.accuracy == pytest.approx(small.original, abs=0.12)  # one of nine faces
    assert small.path.stat().st_size < 4_500_000
    classifier = Classifier.load(installed, "cpu")
    crops = torch.stack([Crops(data.path)[file] for file in data.metadata["file_name"]])
    logits = run_graph(open_session(small.path), {"pixel_values": classifier.preprocessing(crops)})
    apart = np.abs(torch.softmax(torch.from_numpy(logits), dim=1).numpy() - classifier.probabilities(crops))
    assert apart.mean() < 0.03
    assert apart.max() < 0.3


@pytest.mark.parametrize("installed", ["faces"], indirect=True)
def test_its_graph_in_8_bit_integers_is_of_its_weights_and_gives_way_to_one_in_runs(installed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    opened = open_model(installed.name, device="cpu", runtime="int8")
    assert opened.runtime == f"int8 ({installed / INT8_GRAPH})"
    data = made_dataset(tmp_path / "data", size=64, margin=0.05)
    crops = torch.stack([Crops(data.path)[file] for file in data.metadata["file_name"]])
    apart = np.abs(opened.classifier.probabilities(crops) - Classifier.load(installed, "cpu").probabilities(crops))
    assert apart.mean() < 0.03
    assert apart.max() < 0.3
    own = tmp_path / "runs" / installed.name / INT8_GRAPH
    own.parent.mkdir(parents=True)
    shutil.copyfile(installed / INT8_GRAPH, own)
    assert open_model(installed.name, device="cpu", runtime="int8").runtime == f"int8 ({own.relative_to(tmp_path)})"


@pytest.mark.parametrize("runtime", ["torch", "onnxruntime"])
def test_a_path_a_pillow_image_and_an_array_give_it_the_same_probabilities(installed, tmp_path, runtime):
    pixels = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "face.png")
    predictor = Predictor(installed.name, runtime=runtime, detector="none")
    answers = [predictor(each)[0].probabilities for each in (tmp_path / "face.png", Image.fromarray(pixels), pixels)]
    assert sum(answers[0].values()) == pytest.approx(1, abs=1e-5)
    assert answers[0] == answers[1] == answers[2]
