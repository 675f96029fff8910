import numpy as np
import pytest
import torch
from transformers import ViTConfig

from fer_cli.dataset.tensors import Crops
from fer_cli.evaluation.analysis.embeddings import DIFFERENCE, EMOTION, IDENTITY, encode
from fer_cli.models.difference import DifferenceConfig, DifferenceModel
from fer_cli.models.disentangled import DisentangledConfig, DisentangledModel
from fer_cli.models.inference import Classifier
from fer_cli.models.preprocessing import Preprocessing
from fer_cli.models.vit_se import TINY, ViTSEConfig, ViTSEModel
from fer_cli.runs.run import Run
from tests.made import CLASSES, made_model

NAMES = {"id2label": dict(enumerate(CLASSES)), "label2id": {name: index for index, name in enumerate(CLASSES)}}
SIZE = 32


def classifier(model) -> Classifier:
    return Classifier(model, Preprocessing(SIZE), torch.device("cpu"))


def run_of(path, encoder: str = "scratch") -> Run:
    path.mkdir(parents=True, exist_ok=True)
    return Run(path, {"recipe": {"encoder": encoder}, "fold": 0})


def found(made, run, of) -> dict[str, np.ndarray]:
    return encode(run, of, made, made.samples(paired=True).head(5), crops=Crops(made.path))


def prepared(made, column: str) -> torch.Tensor:
    rows = made.samples(paired=True).head(5)
    return Preprocessing(SIZE)(torch.stack([Crops(made.path)[name] for name in rows[column]]))


@pytest.mark.parametrize("tuned", [False, True])
def test_a_paired_model_has_its_encoder_and_the_difference(made, tmp_path, tuned):
    model = made_model()
    model.config.tune_encoder = tuned
    of = classifier(model)
    encoded = found(made, run_of(tmp_path / "run"), of)
    assert set(encoded) == {EMOTION, DIFFERENCE}
    with torch.no_grad():
        target, neutral = (model.encoder(prepared(made, name)) for name in ("file_name", "neutral_file_name"))
    assert np.allclose(encoded[EMOTION], target, atol=1e-5)
    assert np.allclose(encoded[DIFFERENCE], target - neutral, atol=1e-5)


def test_a_model_of_single_faces_has_no_difference(made, tmp_path):
    assert set(found(made, run_of(tmp_path / "run"), classifier(made_model(features="target")))) == {EMOTION}


def test_a_vit_is_embedded_as_its_classifier_sees_it(made, tmp_path):
    torch.manual_seed(0)
    model = ViTSEModel(ViTSEConfig(vit=ViTConfig(**TINY, image_size=SIZE), **NAMES)).eval()
    encoded = found(made, run_of(tmp_path / "run"), classifier(model))
    assert encoded[EMOTION].shape == (5, TINY["hidden_size"])
    with torch.no_grad():
        logits = model(prepared(made, "file_name")).logits
        assert torch.allclose(model.classifier(torch.from_numpy(encoded[EMOTION])), logits, atol=1e-5)


def stage_1(folder) -> DisentangledModel:
    """A run of stage 1 in ``folder``."""
    torch.manual_seed(1)
    model = DisentangledModel(
        DisentangledConfig(backbone="mobilenet_v3_small", identity="mobilenet_v3_small", hidden_sizes=[], **NAMES)
    )
    model.eval().save_pretrained(folder)
    Preprocessing(SIZE).save(folder)
    (folder / "run.json").write_text("{}")
    return model


def test_stage_1_has_the_identity_encoder_beside(made, tmp_path):
    model = stage_1(tmp_path / "run")
    encoded = found(made, run_of(tmp_path / "run"), classifier(model))
    assert set(encoded) == {EMOTION, IDENTITY}
    with torch.no_grad():
        assert np.allclose(encoded[IDENTITY], model.identity(prepared(made, "file_name")), atol=1e-5)
        assert np.allclose(encoded[EMOTION], model.encoder(prepared(made, "file_name")), atol=1e-5)


@pytest.mark.parametrize("inside", [True, False])
def test_stage_2_is_compared_with_the_identity_encoder_of_its_stage_1(made, tmp_path, inside):
    before = tmp_path / "run" / "stage1" if inside else tmp_path / "elsewhere"
    identity = stage_1(before).identity
    model = DifferenceModel(DifferenceConfig(backbone="mobilenet_v3_small", **NAMES))
    encoded = found(made, run_of(tmp_path / "run", "scratch" if inside else str(before)), classifier(model))
    assert set(encoded) == {EMOTION, DIFFERENCE, IDENTITY}
    with torch.no_grad():
        assert np.allclose(encoded[IDENTITY], identity.eval()(prepared(made, "file_name")), atol=1e-5)
