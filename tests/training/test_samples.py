"""What a training learns from: votes in place of labels, rows of further datasets, and the validation rows again."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import torch

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.dataset.schema import VOTE_COLUMNS
from fer_cli.documents import write_seen
from fer_cli.errors import DatasetError, RunError, UsageError
from fer_cli.evaluation.leakage import check_leakage
from fer_cli.training.fit import fit
from fer_cli.training.recipes.classifier import ClassifierRecipe
from fer_cli.training.recipes.disentangled import DisentangledRecipe
from fer_cli.training.samples import JoinedFaces, open_extra, soft_labels, training_sides
from tests.made import CLASSES, made_dataset, unnamed

RECIPE = ClassifierRecipe(
    encoder="scratch", backbone="mobilenet_v3_small", epochs=2, batch_size=5, logger=("none",), patience=0
)
SOFT = dataclasses.replace(RECIPE, soft_labels=True)


def voted(dataset: PreparedDataset, **columns) -> PreparedDataset:
    """The dataset with votes: three of five for a row's label, two for surprise; ``columns`` replace some."""
    votes = {
        f"votes_{name}": 3 * (dataset.metadata["label"] == name).astype(int) + 2 * (name == "surprise")
        for name in ("neutral", *CLASSES)
    }
    return dataclasses.replace(dataset, metadata=dataset.metadata.assign(**{**votes, **columns}))


def test_votes_become_shares_of_the_classes_that_the_run_has(made):
    dataset = voted(made)
    rows = dataset.samples(paired=False)
    shares = soft_labels(dataset, rows, CLASSES)
    assert shares.dtype == torch.float32
    expected = {"anger": [0.6, 0.0, 0.4], "happiness": [0.0, 0.6, 0.4], "surprise": [0.0, 0.0, 1.0]}
    for row, label in zip(shares.tolist(), rows["label"], strict=True):
        assert row == pytest.approx(expected[label])
    # Votes for what the run has no class for are not counted.
    neutral = dataset.metadata[dataset.metadata["label"] == "neutral"]
    assert soft_labels(dataset, neutral.head(1), CLASSES).tolist() == [[0.0, 0.0, 1.0]]


@pytest.mark.parametrize(
    ("value", "said"),
    [(-1.0, "negative"), (np.nan, "no number"), ("many", "no number"), (np.inf, "no number")],
)
def test_votes_that_cannot_be_are_refused_by_row_and_column(made, value, said):
    column = pd.Series(1.0, index=made.metadata.index, dtype=object)
    column.iloc[6] = value
    dataset = voted(made, votes_happiness=column)
    with pytest.raises(DatasetError, match=rf"metadata\.csv, row 7: 'votes_happiness' is {said}|row 7.*{said}"):
        soft_labels(dataset, dataset.metadata, CLASSES)


def test_a_row_without_votes_is_refused(made):
    none = {f"votes_{name}": [0] * 6 + [1] * 30 for name in ("neutral", *CLASSES)}
    dataset = voted(made, **{name: [1] * 6 + [0] + [1] * 29 for name in none})
    with pytest.raises(DatasetError, match="row 7: all its votes are 0"):
        soft_labels(dataset, dataset.metadata, CLASSES)


def test_a_dataset_without_votes_is_refused_with_the_way_out(made):
    with pytest.raises(DatasetError, match="no column of votes") as caught:
        training_sides(SOFT, made, SOFT.sides(made), CLASSES)
    assert "--soft-labels" in caught.value.hint


def test_pictures_without_a_majority_train_and_do_nothing_else(made):
    labels = made.metadata["label"].copy()
    fold_of = made.metadata["fold"]
    unlabelled = [rows.index[1] for _, rows in made.metadata.groupby(fold_of)]
    labels.loc[unlabelled] = pd.NA
    dataset = dataclasses.replace(voted(made), metadata=voted(made).metadata.assign(label=labels))
    plain = training_sides(RECIPE, dataset, RECIPE.sides(dataset), CLASSES)
    soft = training_sides(SOFT, dataset, SOFT.sides(dataset), CLASSES)
    # Fold 0 is tested, fold 1 validated: of the three rows the one in fold 2 trains.
    added = soft["train"].loc[soft["train"].index.difference(plain["train"].index)]
    assert added.index.tolist() == [row for row in unlabelled if fold_of[row] == 2]
    # Till it is weighed by its votes, it has the class with the most.
    assert added["label"].tolist() == ["anger"]
    for side in ("val", "test"):
        assert soft[side].index.equals(plain[side].index)
        assert not set(unlabelled) & set(soft[side].index)


def test_a_training_learns_the_shares(made, tmp_path):
    """All votes split evenly between two classes: it comes to say half and half."""
    even = {f"votes_{name}": [int(name != "anger")] * len(made.metadata) for name in CLASSES}
    dataset = voted(made, votes_neutral=0, **even)
    recipe = dataclasses.replace(SOFT, epochs=8, lr=0.01, augment="none", schedule="constant", warmup=0.0)
    run = fit(recipe, dataset, tmp_path / "run", device="cpu")
    loss = pd.read_csv(run.path / "epochs.csv")["loss"]
    assert loss.iloc[-1] == pytest.approx(np.log(2), abs=0.08)


def test_votes_train_as_a_prepared_dataset_stores_them(tmp_path):
    """By the owners' split, with a picture that has votes and no label."""
    dataset = unnamed(made_dataset(tmp_path / "made", subjects=12), {"a": "train", "b": "val", "c": "test"})
    table = pd.read_csv(dataset.path / "metadata.csv", dtype="string")
    for name in VOTE_COLUMNS:
        table[name] = "10" if name == "votes_happiness" else "0"
    place = table.index[(table["split"] == "train") & (table["label"] != "neutral")][0]
    table.loc[place, "label"] = pd.NA
    table.to_csv(dataset.path / "metadata.csv", index=False)
    dataset = PreparedDataset.open(dataset.path)
    counts = [
        fit(dataclasses.replace(recipe, epochs=1), dataset, tmp_path / name, device="cpu").card["counts"]
        for name, recipe in (("hard", RECIPE), ("soft", SOFT))
    ]
    assert counts == [{"train": 11, "val": 12, "test": 12}, {"train": 12, "val": 12, "test": 12}]


def test_further_data_gives_the_rows_that_may_train(tmp_path):
    dataset = made_dataset(tmp_path / "made")
    other = made_dataset(tmp_path / "other", corpus="other", subjects=12, folds=4, size=48)
    split = unnamed(
        made_dataset(tmp_path / "split", corpus="split", subjects=10), {"a": "train", "b": "val", "c": "test"}
    )
    recipe = dataclasses.replace(RECIPE, fold=1, extra_data=(str(other.path), str(split.path)))
    folds, owners = open_extra(recipe, dataset, CLASSES[:2])
    assert set(folds.rows["fold"]) == {0, 3}
    assert set(folds.rows["label"]) == set(owners.rows["label"]) == set(CLASSES[:2])
    assert set(owners.rows["split"]) == {"train"}
    paired = dataclasses.replace(DisentangledRecipe(stage=2), extra_data=(str(other.path),), fold=1)
    [pairs] = open_extra(paired, dataset, CLASSES)
    assert pairs.rows["neutral_file_name"].notna().all()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"margin": 0.3}, r"margin of 0\.3 .* one of 0\.15"),
        ({}, "trains already"),
    ],
)
def test_data_that_do_not_fit_are_refused(tmp_path, settings, said):
    dataset = made_dataset(tmp_path / "made")
    other = made_dataset(tmp_path / "other", **settings)
    with pytest.raises(DatasetError, match=said) as caught:
        open_extra(dataclasses.replace(RECIPE, extra_data=(str(other.path),)), dataset, CLASSES)
    assert not settings or "--margin 0.15" in caught.value.hint


def test_data_of_none_of_the_classes_or_without_the_fold_are_refused(tmp_path):
    dataset = made_dataset(tmp_path / "made")
    other = made_dataset(tmp_path / "other", corpus="other", subjects=6)
    recipe = dataclasses.replace(RECIPE, extra_data=(str(other.path),))
    with pytest.raises(DatasetError, match="no training picture of fear, disgust"):
        open_extra(recipe, dataset, ("fear", "disgust"))
    with pytest.raises(DatasetError, match="no fold 3"):
        open_extra(dataclasses.replace(recipe, fold=3), dataset, CLASSES)


def test_a_run_trains_on_them_and_remembers_whom_they_show(tmp_path):
    dataset = made_dataset(tmp_path / "made")
    other = made_dataset(tmp_path / "other", corpus="other", subjects=6, size=48)
    unknown = unnamed(made_dataset(tmp_path / "unknown", corpus="unknown"), {"a": "train", "b": "val", "c": "test"})
    paths = (str(other.path), str(unknown.path))
    run = fit(dataclasses.replace(RECIPE, extra_data=paths, epochs=1), dataset, tmp_path / "run", device="cpu")
    noted, unnoted = run.card["extra_data"]
    assert (noted["corpus"], noted["fingerprint"]) == ("other", other.fingerprint)
    assert noted["count"] == 3 * len(noted["subjects"]) == 6
    assert run.seen["other"] == noted["subjects"]
    assert (unnoted["count"], unnoted["subjects"]) == (9, [])
    with pytest.raises(RunError, match="18 of the unknown pictures"):
        check_leakage(run, unknown, unknown.samples(paired=False), allow_seen=False)
    assert not check_leakage(run, unknown, unknown.split(0, paired=False)["test"], allow_seen=False)
    assert run.card["counts"] == {"train": 9, "val": 9, "test": 9}
    # A third of the training is theirs, at the size of the first dataset.
    assert json.loads((run.path / "preprocessor_config.json").read_text())["size"]["height"] == 32


def test_a_run_remembers_the_data_whose_people_its_start_does_not_list(tmp_path):
    wild = made_dataset(tmp_path / "wild", corpus="files", subjects=6)
    dataset = made_dataset(tmp_path / "made")
    recipe = dataclasses.replace(RECIPE, epochs=1)
    start = fit(dataclasses.replace(recipe, extra_data=(str(wild.path),)), dataset, tmp_path / "start", device="cpu")
    assert "unlisted" not in start.card
    # As it is published.
    seen = {"made": start.seen["made"]}
    (start.path / "run.json").write_text(json.dumps({**start.card, "seen": seen}))
    write_seen(start.path / "model.safetensors", seen)
    run = fit(dataclasses.replace(recipe, encoder=str(start.path)), dataset, tmp_path / "run", device="cpu")
    assert run.card["unlisted"] == [{"fingerprint": wild.fingerprint, "fold": 0, "extra": True}]
    with pytest.raises(RunError, match=r"trained on 2 of the files subjects in this test \(P03, P06\)"):
        check_leakage(run, wild, wild.samples(paired=False), allow_seen=False)


def test_people_of_the_test_fold_do_not_come_in_by_further_data(tmp_path):
    dataset = made_dataset(tmp_path / "made")
    # The same corpus prepared otherwise: its people are in other folds.
    other = made_dataset(tmp_path / "other", subjects=12, folds=4, size=48)
    recipe = dataclasses.replace(RECIPE, extra_data=(str(other.path),))
    with pytest.raises(RunError, match=r"--extra-data .* shows .* of the made subjects that fold 0 tests"):
        fit(recipe, dataset, tmp_path / "run", device="cpu")


def test_who_is_shown_in_further_data_no_adversary_can_tell(tmp_path):
    dataset = made_dataset(tmp_path / "made")
    other = made_dataset(tmp_path / "other", corpus="other", subjects=6)
    recipe = DisentangledRecipe(
        stage=1, identity="none", disentangle="adversarial", encoder="scratch", extra_data=(str(other.path),)
    )
    with pytest.raises(UsageError, match="--extra-data: subjects"):
        fit(recipe, dataset, tmp_path / "run", device="cpu")


class Numbers(torch.utils.data.Dataset):
    def __init__(self, begin: int, count: int, whole: bool):
        self.values = torch.arange(begin, begin + count)
        if whole:
            self.__getitems__ = lambda indices: {"value": self.values[indices]}

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int):
        return {"value": int(self.values[index])}


@pytest.mark.parametrize("whole", [True, False])
def test_joined_datasets_give_the_samples_in_the_order_asked_for(whole):
    joined = JoinedFaces([Numbers(0, 3, whole), Numbers(3, 4, whole), Numbers(7, 1, whole)])
    assert len(joined) == 8
    order = [7, 0, 3, 6, 2, 2, 5]
    batch = joined.__getitems__(order)
    assert (batch["value"].tolist() if whole else [sample["value"] for sample in batch]) == order
    assert [joined[place]["value"] for place in range(8)] == list(range(8))


def test_refit_trains_again_on_the_validation_rows_for_the_chosen_number_of_epochs(made, tmp_path):
    recipe = dataclasses.replace(RECIPE, epochs=3, refit=True, ema=0.5)
    steps = []
    run = fit(
        recipe,
        made,
        tmp_path / "run",
        device="cpu",
        progress=lambda stage, done, total, /, **facts: steps.append(done) if stage == "training" else None,
    )
    selection = json.loads((run.path / "selection" / "run.json").read_text())
    assert selection["counts"] == {"train": 9, "val": 9, "test": 9}
    assert run.card["counts"] == {"train": 18, "val": 0, "test": 9}
    assert run.card["best"] == selection["best"]
    assert "then trained again" in run.card["epoch_rule"]
    assert run.card["subjects"]["val"] == []
    assert set(run.seen["made"]) == set(selection["seen"]["made"])
    epochs = pd.read_csv(run.path / "epochs.csv")
    assert epochs["epoch"].tolist() == list(range(1, selection["best"]["epoch"] + 1))
    # Three whole epochs of nine pictures by five, then as many of 18 as were best.
    assert steps == [*range(1, 7), *range(1, 4 * selection["best"]["epoch"] + 1)]
    assert not (run.path / "checkpoints").exists()
