import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from fer_cli.dataset.tensors import Crops
from fer_cli.errors import DatasetError, ModelError, RunError
from fer_cli.export import onnx as exporting
from fer_cli.export.onnx import Exported, export
from fer_cli.models import Classifier
from fer_cli.models.loading import fingerprint
from fer_cli.runs.run import Run
from tests.made import CLASSES, made_dataset
from tests.prediction.runs import write_run

NAMES = {"target": ["pixel_values"], "both": ["pixel_values", "neutral_pixel_values"]}


@pytest.fixture(params=["both", "target"])
def run(request, made, tmp_path) -> Run:
    dataset = {"path": str(made.path), "corpus": "made", "fingerprint": made.fingerprint}
    return write_run(tmp_path / "run", features=request.param, dataset=dataset)


def configured(run: Run, **values) -> None:
    config = json.loads((run.path / "config.json").read_text())
    (run.path / "config.json").write_text(json.dumps({**config, **values}))


def told(path) -> dict:
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def inputs(run: Run, made) -> tuple[dict[str, torch.Tensor], list[str]]:
    """The held-out faces as the graph's metadata say, and what they show."""
    features = run.card["recipe"]["features"]
    rows = made.split(0, paired=features == "both")["test"]
    crops, prepare = Crops(made.path), Classifier.load(run.path, "cpu").preprocessing
    columns = dict(zip(NAMES[features], ("file_name", "neutral_file_name"), strict=False))
    found = {name: prepare(torch.stack([crops[file] for file in rows[column]])) for name, column in columns.items()}
    return found, rows["label"].tolist()


def test_the_file_answers_as_the_run_does_for_any_number_of_faces(run, made, tmp_path):
    result = export(run, tmp_path / "out" / "model.onnx")
    assert result.path == tmp_path / "out" / "model.onnx"
    assert result.on_noise <= 1e-4
    assert result.on_faces <= 1e-4
    onnx.checker.check_model(str(result.path), full_check=True)
    session = onnxruntime.InferenceSession(str(result.path))
    assert [each.name for each in session.get_inputs()] == NAMES[run.card["recipe"]["features"]]
    assert [each.name for each in session.get_outputs()] == ["logits"]
    given, labels = inputs(run, made)
    assert result.faces == len(labels)
    for count in (1, len(labels)):
        part = {name: value[:count].contiguous().numpy() for name, value in given.items()}
        shares = torch.softmax(torch.from_numpy(session.run(None, part)[0]), dim=1).numpy()
        expected = Classifier.load(run.path, "cpu").classify({name: value[:count] for name, value in given.items()})
        assert np.abs(shares - expected).max() < 1e-4
    assert [path.name for path in result.path.parent.iterdir()] == ["model.onnx"]


def test_mirror_images_are_averaged_in_the_graph_before_the_temperature(run, made, tmp_path):
    configured(run, tta="flip", softmax_temperature=0.4)
    result = export(run, tmp_path / "model.onnx")
    assert told(result.path)["tta"] == "flip, averaged in the graph"
    given, _ = inputs(run, made)
    session = onnxruntime.InferenceSession(str(result.path))

    def shares(pictures) -> np.ndarray:
        values = {name: value.contiguous().numpy() for name, value in pictures.items()}
        return torch.softmax(torch.from_numpy(session.run(None, values)[0]), dim=1).numpy()

    mirrored = {name: value.flip(-1) for name, value in given.items()}
    assert np.abs(shares(given) - shares(mirrored)).max() < 1e-5
    assert np.abs(shares(given) - Classifier.load(run.path, "cpu").classify(given)).max() < 1e-5
    one_view = Classifier.load(run.path, "cpu", tta="none")
    assert np.abs(shares(given) - one_view.classify(given)).max() > 1e-3


def test_labels_preprocessing_protocol_and_fingerprint_travel_with_it(run, made, tmp_path):
    metadata = told(export(run, tmp_path / "model.onnx").path)
    assert json.loads(metadata["labels"]) == list(CLASSES)
    preprocessing = json.loads(metadata["preprocessing"])
    assert (preprocessing["size"], preprocessing["channels"]) == (32, "RGB")
    assert preprocessing["mean"] == [0.485, 0.456, 0.406]
    assert preprocessing["face_crop"]["margin"] == 0.15
    assert json.loads(metadata["protocol"])["name"] == run.protocol.name
    assert metadata["fingerprint"] == fingerprint(Classifier.load(run.path, "cpu").model)
    assert metadata["dataset_fingerprint"] == made.fingerprint
    assert metadata["run"] == "run"


@pytest.mark.parametrize("run", ["both"], indirect=True)
def test_int8_is_smaller_and_its_accuracy_stands_beside_the_originals(run, made, tmp_path):
    whole, small = export(run, tmp_path / "whole.onnx"), export(run, tmp_path / "small.onnx", quantize=True)
    assert small.path.stat().st_size < whole.path.stat().st_size / 2
    given, labels = inputs(run, made)
    given = {name: value.contiguous().numpy() for name, value in given.items()}

    def accuracy(path) -> float:
        logits = onnxruntime.InferenceSession(str(path)).run(None, given)[0]
        return float(np.mean([CLASSES[place] == label for place, label in zip(logits.argmax(1), labels, strict=True)]))

    assert small.original == pytest.approx(accuracy(whole.path))
    assert small.accuracy == pytest.approx(accuracy(small.path))
    assert small.tested == len(labels)
    judged = json.loads(told(small.path)["quantization"])
    assert judged["accuracy"] == small.accuracy
    assert judged["float32_accuracy"] == small.original
    assert judged["method"] == small.method
    assert json.loads(told(small.path)["labels"]) == list(CLASSES)
    assert {path.name for path in tmp_path.glob("*.onnx")} == {"whole.onnx", "small.onnx"}
    torchs = Classifier.load(run.path, "cpu").classify({name: torch.from_numpy(each) for name, each in given.items()})
    logits = torch.from_numpy(onnxruntime.InferenceSession(str(small.path)).run(None, given)[0])
    assert small.faces == len(labels)
    assert small.on_faces == pytest.approx(float(np.abs(logits.softmax(1).numpy() - torchs).max()), abs=1e-6)


def test_int8_beyond_its_bounds_is_told():
    exact = {"accuracy": 0.8, "original": 0.805, "on_faces": 0.09, "tested": 9, "faces": 9}
    assert Exported(Path("m.onnx"), **exact).inexact == ""
    assert Exported(Path("m.onnx"), **exact | {"on_faces": 0.11}).inexact == "its probabilities are up to 0.11 off"
    worse = Exported(Path("m.onnx"), **exact | {"on_faces": 0.3, "original": 0.9}).inexact
    assert worse == "its probabilities are up to 0.30 off and it costs 10.0% of accuracy"
    assert Exported(Path("m.onnx"), on_noise=1e-7, on_faces=0.3).inexact == ""


@pytest.mark.parametrize("run", ["both"], indirect=True)
def test_without_the_dataset_it_is_checked_on_noise_alone_and_int8_is_refused(run, made, tmp_path):
    shutil.rmtree(made.path)
    result = export(run, tmp_path / "model.onnx")
    assert (result.on_faces, result.faces) == (None, 0)
    assert result.on_noise <= 1e-4
    with pytest.raises(DatasetError, match="is no longer at"):
        export(run, tmp_path / "small.onnx", quantize=True)
    assert not (tmp_path / "small.onnx").exists()


@pytest.mark.parametrize("run", ["both"], indirect=True)
def test_another_dataset_takes_the_place_of_one_that_is_gone(run, made, tmp_path):
    shutil.rmtree(made.path)
    other = made_dataset(tmp_path / "other", subjects=6, corpus="other")
    assert export(run, tmp_path / "model.onnx", data=other.path).faces == 6


@pytest.mark.parametrize("run", ["both"], indirect=True)
def test_a_dataset_that_does_not_fit_is_refused(run, tmp_path):
    wide = made_dataset(tmp_path / "wide", corpus="other", margin=0.3)
    with pytest.raises(DatasetError, match=r"a margin of 0\.3"):
        export(run, tmp_path / "model.onnx", data=wide.path)
    strange = made_dataset(tmp_path / "strange", corpus="other")
    card = json.loads((strange.path / "dataset.json").read_text())
    card["protocol"]["classes"] = ["contempt", "disgust"]
    (strange.path / "dataset.json").write_text(json.dumps(card))
    table = (strange.path / "metadata.csv").read_text()
    for name, other in (("anger", "contempt"), ("happiness", "disgust")):
        table = table.replace(f".png,{name},", f".png,{other},")
    (strange.path / "metadata.csv").write_text(table)
    with pytest.raises(DatasetError, match=r"no face of the model's classes.*knows anger.*has contempt"):
        export(run, tmp_path / "model.onnx", data=strange.path)


def test_a_dataset_whose_test_subjects_the_model_has_seen_is_refused(made, tmp_path):
    run = write_run(tmp_path / "run", features="both", seen={"made": ["P01", "P04"]})
    with pytest.raises(RunError, match=r"trained on 2 of the test subjects.*P01, P04"):
        export(run, tmp_path / "model.onnx", data=made.path)


@pytest.mark.parametrize("run", ["both"], indirect=True)
def test_a_file_that_answers_otherwise_is_not_left(run, tmp_path, monkeypatch):
    write = exporting.write_graph

    def wrong(network, *arguments, **settings):
        with torch.no_grad():
            network.model.head[0].bias.add_(0.5)
        write(network, *arguments, **settings)
        with torch.no_grad():
            network.model.head[0].bias.sub_(0.5)

    monkeypatch.setattr(exporting, "write_graph", wrong)
    with pytest.raises(ModelError, match="off torch's"):
        export(run, tmp_path / "out" / "model.onnx")
    assert list((tmp_path / "out").iterdir()) == []
