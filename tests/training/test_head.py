"""The head for few people: it learns from embeddings of any size, and from several neutral pictures."""

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from fer_cli.dataset.pairing import neutral_pictures
from fer_cli.embeddings.embed import Embeddings
from fer_cli.embeddings.inputs import mean_neutrals
from fer_cli.errors import UsageError
from fer_cli.evaluation.evaluate import evaluate
from fer_cli.options import Session
from fer_cli.training.fit import fit
from fer_cli.training.recipes.difference import DifferenceRecipe
from tests.made import made_model

SETTINGS = {"batch_size": 9, "logger": ("none",), "backbone": "mobilenet_v3_small"}


@pytest.fixture
def faint(tmp_path) -> str:
    """An encoder whose embeddings differ between faces by millionths of what a head reads, as a random one's do."""
    model = made_model(features="target")
    with torch.no_grad():
        # The last BatchNorm's scale and shift, which the activation passes on in proportion where they are large.
        for module in [each for each in model.encoder.modules() if isinstance(each, torch.nn.BatchNorm2d)][-1:]:
            module.weight.mul_(1e-6)
            module.bias.zero_()
    model.save_pretrained(tmp_path / "faint")
    return str(tmp_path / "faint")


def test_it_learns_from_embeddings_of_any_size(made, faint, tmp_path):
    run = fit(DifferenceRecipe(encoder=faint, epochs=12, **SETTINGS), made, tmp_path / "run", device="cpu")
    weights = load_file(run.path / "model.safetensors")
    assert weights["standardised.std"].median() < 1e-5
    assert run.card["best"]["val_accuracy"] > 0.9
    as_they_are = DifferenceRecipe(encoder=faint, epochs=12, standardise=False, **SETTINGS)
    before = fit(as_they_are, made, tmp_path / "before", device="cpu")
    assert before.card["best"]["val_accuracy"] < 0.7


def rows(*values: tuple) -> pd.DataFrame:
    columns = ["file_name", "label", "subject", "sequence", "neutral_file_name"]
    return pd.DataFrame(values, columns=columns).astype("string")


def test_further_neutrals_are_those_of_the_persons_other_sequences():
    metadata = rows(
        ("a0", "neutral", "A", "1", None),
        ("a1", "anger", "A", "1", "a0"),
        ("b0", "neutral", "A", "2", None),
        ("b1", "fear", "A", "2", "b0"),
        ("c0", "neutral", "A", "3", None),
        ("c1", "fear", "A", "3", "c0"),
        ("o0", "neutral", "B", "1", None),
        ("o1", "fear", "B", "1", "o0"),
    )
    assert neutral_pictures(metadata, 1) == {"a1": ["a0"], "b1": ["b0"], "c1": ["c0"], "o1": ["o0"]}
    assert neutral_pictures(metadata, 2) == {"a1": ["a0", "b0"], "b1": ["b0", "c0"], "c1": ["c0", "a0"], "o1": ["o0"]}
    assert neutral_pictures(metadata, 9)["b1"] == ["b0", "c0", "a0"]


def test_where_neutral_is_a_class_no_picture_is_its_own_neutral_nor_does_the_set_tell_the_class():
    """Each neutral picture is compared with the next: what a face of a take is compared with is what its neutral is."""
    metadata = rows(
        ("a0", "neutral", "A", "1", "b0"),
        ("a1", "anger", "A", "1", "b0"),
        ("b0", "neutral", "A", "2", "c0"),
        ("b1", "fear", "A", "2", "c0"),
        ("c0", "neutral", "A", "3", "a0"),
        ("c1", "fear", "A", "3", "a0"),
    )
    found = neutral_pictures(metadata, 9)
    assert found == {take + kind: others for take, others in
                     (("a", ["b0", "c0"]), ("b", ["c0", "a0"]), ("c", ["a0", "b0"])) for kind in "01"}  # fmt: skip
    alone = rows(("a0", "neutral", "A", None, None), ("a1", "anger", "A", None, "a0"))
    assert neutral_pictures(alone, 3) == {"a1": ["a0"]}


def test_the_mean_of_neutrals_is_that_of_their_embeddings_in_each_view():
    table = torch.tensor([[[0.0], [1.0], [5.0]], [[10.0], [11.0], [15.0]]])
    mean = mean_neutrals(Embeddings(["x", "n", "m"], table), {"x": ["n", "m"], "m": ["n"]})
    assert mean.of(["x", "m"]).flatten().tolist() == [3.0, 1.0, 13.0, 11.0]


def test_a_run_with_several_neutrals_is_evaluated_with_them(made, faint, tmp_path):
    run = fit(DifferenceRecipe(encoder=faint, epochs=2, neutrals=3, **SETTINGS), made, tmp_path / "run", device="cpu")
    assert evaluate(run, session=Session("cpu")).predictions is not None


def test_neutrals_are_averaged_for_a_frozen_encoder_alone(made, tmp_path):
    with pytest.raises(UsageError, match="--neutrals 2"):
        fit(DifferenceRecipe(encoder="scratch", neutrals=2, **SETTINGS), made, tmp_path / "run", device="cpu")
