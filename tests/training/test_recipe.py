import pytest

from fer_cli.errors import ModelError, UsageError
from fer_cli.training.difference import DifferenceRecipe


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
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused_by_its_flag(setting, flag):
    with pytest.raises(UsageError, match=flag):
        DifferenceRecipe(**setting)


def test_scratch_implies_a_tuned_encoder_and_nothing_else_does(tmp_path):
    build = {"backbone": "mobilenet_v3_small"}
    scratch = DifferenceRecipe(encoder="scratch", **build).build(("fear", "anger"))
    assert scratch.config.tune_encoder
    scratch.save_pretrained(tmp_path)
    for tune in (False, True):
        model = DifferenceRecipe(encoder=str(tmp_path), tune_encoder=tune, **build).build(("fear", "anger"))
        assert model.config.tune_encoder is tune


def test_an_encoder_that_is_nothing_is_refused():
    with pytest.raises(ModelError, match="no weights at"):
        DifferenceRecipe(encoder="imagenett").build(("fear", "anger"))


def test_only_target_needs_no_pairs():
    assert [DifferenceRecipe(features=features).paired for features in ("both", "difference", "target")] == [
        True,
        True,
        False,
    ]
