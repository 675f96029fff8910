import pytest

from fer_cli.embeddings.neutral import NeutralMean
from fer_cli.training.fit import fit
from fer_cli.training.recipes.difference import DifferenceRecipe
from fer_cli.training.recipes.disentangled import IdentityRecipe

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
