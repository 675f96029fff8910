import dataclasses

import pytest
import torch

from fer_cli.embeddings import neutral
from fer_cli.embeddings.neutral import NeutralMean, neutral_mean
from fer_cli.models import DifferenceModel
from fer_cli.models.preprocessing import Preprocessing
from fer_cli.training.fit import fit
from fer_cli.training.recipes.difference import DifferenceRecipe
from fer_cli.training.recipes.disentangled import IdentityRecipe
from tests.made import made_model

QUICK = {"epochs": 1, "batch_size": 9}
PAIRED = DifferenceRecipe(encoder="scratch", backbone="mobilenet_v3_small", **QUICK)
SINGLE = DifferenceRecipe(encoder="scratch", backbone="mobilenet_v3_small", features="target", **QUICK)


@pytest.mark.parametrize(
    ("recipe", "kept"), [(PAIRED, True), (IdentityRecipe(**QUICK), True), (SINGLE, False)], ids=["both", "id", "target"]
)
def test_a_run_that_compares_people_or_tells_them_apart_remembers_its_own(recipe, kept, made, tmp_path):
    run = fit(recipe, made, tmp_path / "run", device="cpu")
    known = NeutralMean.load(run.path)
    assert (known is not None) == kept
    if kept:
        assert known.subjects == len(run.card["subjects"]["train"]) == 3
        assert known.mean.shape == (576,)
        assert known.threshold > 0


def test_they_are_those_trained_on_and_told_apart_by_those_who_chose_the_epoch(made, tmp_path):
    run = fit(dataclasses.replace(PAIRED, fold=2), made, tmp_path / "run", device="cpu")
    model, preprocessing = DifferenceModel.from_pretrained(run.path).eval(), Preprocessing.load(run.path)
    subjects = {"P02", "P05", "P08"}
    assert set(run.card["subjects"]["train"]) == subjects
    expected = neutral_mean(model.encoder, made, preprocessing, subjects=subjects, fold=2, device=torch.device("cpu"))
    known = NeutralMean.load(run.path)
    torch.testing.assert_close(known.mean, expected.mean)
    assert known.threshold == pytest.approx(expected.threshold)


def test_of_a_frozen_encoder_no_picture_is_embedded_a_second_time(made, tmp_path, monkeypatch):
    made_model(features="target").save_pretrained(tmp_path / "encoder")
    recipe = DifferenceRecipe(encoder=str(tmp_path / "encoder"), logger=("none",), **QUICK)
    monkeypatch.setattr(neutral, "encode_crops", None)
    known = NeutralMean.load(fit(recipe, made, tmp_path / "run", device="cpu").path)
    assert known.subjects == 3
