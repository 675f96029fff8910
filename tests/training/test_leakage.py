"""The subjects that a training's model will have seen, those of every weight that it starts from included."""

import dataclasses
import json
from pathlib import Path

import pandas as pd
import pytest

from fer_cli.errors import RunError
from fer_cli.training.recipes.difference import DifferenceRecipe
from fer_cli.training.recipes.disentangled import DisentangledRecipe
from fer_cli.training.samples import ExtraData, seen_subjects
from tests.made import made_dataset, run_card

SCRATCH = DifferenceRecipe(encoder="scratch", fold=0)
#: Of the dataset's nine subjects in three folds, those whom fold 0 trains on, chooses the epoch by, and tests.
TRAINED, VALIDATED, TESTED = (["P03", "P06", "P09"], ["P02", "P05", "P08"], ["P01", "P04", "P07"])


def run(folder: Path, seen: dict[str, list[str]]) -> Path:
    """The record of a finished run that has ``seen`` these subjects."""
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps(run_card(seen=seen)))
    return folder


def seen(recipe, dataset, parts=None, *, allow_seen=False):
    return seen_subjects(recipe, dataset, recipe.sides(dataset), parts or {}, allow_seen=allow_seen)


def test_seen_are_those_trained_on_and_those_that_chose_the_epoch(made):
    assert seen(SCRATCH, made) == ({"made": sorted(TRAINED + VALIDATED)}, [])
    assert seen(dataclasses.replace(SCRATCH, fold=2), made) == ({"made": sorted(TESTED + VALIDATED)}, [])


def test_those_of_the_weights_that_it_starts_from_are_added_by_corpus(made, tmp_path):
    start = run(tmp_path / "start", {"made": ["P03", "X9"], "other": ["S2", "S1"]})
    found, insisted_on = seen(dataclasses.replace(SCRATCH, encoder=str(start)), made)
    assert found == {"made": [*sorted(TRAINED + VALIDATED), "X9"], "other": ["S1", "S2"]}
    assert insisted_on == []


def test_the_same_name_in_another_corpus_is_another_person(made, tmp_path):
    start = run(tmp_path / "start", {"other": TESTED})
    assert seen(dataclasses.replace(SCRATCH, encoder=str(start)), made)[1] == []
    other = made_dataset(tmp_path / "data" / "other", corpus="other")
    with pytest.raises(RunError, match="3 of the other subjects"):
        seen(dataclasses.replace(SCRATCH, encoder=str(start)), other)


def test_subjects_that_the_weights_do_not_list_are_known_by_the_folds_of_the_same_data(made, tmp_path):
    start = tmp_path / "start"
    start.mkdir()
    data = {"corpus": "made", "fingerprint": made.fingerprint}
    # It was trained besides on all folds but 0 and the next.
    (start / "run.json").write_text(json.dumps(run_card(seen={"other": []}, extra_data=[data])))
    begun = {fold: dataclasses.replace(SCRATCH, encoder=str(start), fold=fold) for fold in range(3)}
    assert seen(begun[0], made) == ({"made": sorted(TRAINED + VALIDATED), "other": []}, [])
    assert seen(begun[1], made)[1] == []
    with pytest.raises(RunError, match=r"was trained on 3 of the made subjects that fold 2 tests \(P03, P06, P09\)"):
        seen(begun[2], made)
    found, insisted_on = seen(begun[2], made, allow_seen=True)
    assert insisted_on == TRAINED
    assert found["made"] == sorted(TRAINED + VALIDATED + TESTED)
    other = made_dataset(tmp_path / "data" / "other", size=48)
    assert seen(begun[2], other)[1] == []


def test_who_is_tested_and_was_trained_on_is_named_and_how_to_insist(made, tmp_path):
    start = run(tmp_path / "start", {"made": ["P07", "P02", "P01"]})
    with pytest.raises(RunError) as caught:
        seen(dataclasses.replace(SCRATCH, encoder=str(start)), made)
    assert str(caught.value).startswith(
        f"{start} was trained on 2 of the made subjects that fold 0 tests (P01, P07): the accuracy would be on "
    )
    assert caught.value.hint.startswith("Start from a run of the same fold")
    assert caught.value.hint.endswith("type --allow-seen-subjects.")


def test_insisted_on_are_those_tested_whom_any_of_its_starts_has_seen(made, tmp_path):
    encoder = run(tmp_path / "encoder", {"made": ["P07", "P03"]})
    identity = run(tmp_path / "identity", {"made": ["P02", "P01"], "other": ["S1"]})
    recipe = DisentangledRecipe(stage=1, encoder=str(encoder), identity=str(identity))
    found, insisted_on = seen(recipe, made, allow_seen=True)
    assert insisted_on == ["P01", "P07"]
    assert found == {"made": sorted([*TRAINED, *VALIDATED, "P01", "P07"]), "other": ["S1"]}
    for refused in (encoder, identity):
        other = {"encoder": "scratch"} if refused == identity else {"identity": "none"}
        with pytest.raises(RunError, match=f"{refused} was trained on 1 of the made subjects"):
            seen(dataclasses.replace(recipe, **other), made)


def test_a_part_trained_before_in_the_same_training_is_asked_too(made, tmp_path):
    part = run(tmp_path / "identity", {"made": ["P04"]})
    recipe = DisentangledRecipe(stage=1, encoder="scratch", identity="subjects")
    with pytest.raises(RunError, match="P04"):
        seen(recipe, made, {"identity": part})
    assert seen(recipe, made, {"identity": part}, allow_seen=True)[1] == ["P04"]


def test_those_of_further_data_are_added_and_may_not_be_tested_either(made, tmp_path):
    other = made_dataset(tmp_path / "data" / "other", corpus="other")
    sides = SCRATCH.sides(made)
    extra = ExtraData(other, other.split(0, paired=True)["val"])
    found, insisted_on = seen_subjects(SCRATCH, made, sides, {}, [extra], allow_seen=False)
    assert found == {"made": sorted(TRAINED + VALIDATED), "other": VALIDATED}
    assert insisted_on == []
    again = ExtraData(made, made.split(1, paired=True)["test"].iloc[:1])
    tested = ExtraData(made, sides["test"])
    assert seen_subjects(SCRATCH, made, sides, {}, [again], allow_seen=False)[1] == []
    with pytest.raises(RunError, match=r"^--extra-data .*made shows 3 of the made subjects that fold 0 tests"):
        seen_subjects(SCRATCH, made, sides, {}, [again, tested], allow_seen=False)
    assert seen_subjects(SCRATCH, made, sides, {}, [tested], allow_seen=True)[1] == TESTED


def test_pictures_that_name_nobody_add_nobody(made, tmp_path):
    start = run(tmp_path / "start", {"made": ["P01"]})
    knowing = dataclasses.replace(SCRATCH, encoder=str(start))
    for nameless, named in ((["P03"], ["P02", "P05", "P06", "P08", "P09"]), (TRAINED + VALIDATED + TESTED, [])):
        sides = {side: rows.copy() for side, rows in SCRATCH.sides(made).items()}
        for rows in sides.values():
            rows.loc[rows["subject"].isin(nameless), "subject"] = pd.NA
        assert seen_subjects(SCRATCH, made, sides, {}, allow_seen=False)[0] == {"made": named}
    assert seen_subjects(knowing, made, sides, {}, allow_seen=False) == ({"made": ["P01"]}, [])
