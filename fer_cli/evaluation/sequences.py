"""Metrics by sequence rather than by frame: the frames of one sequence average their probabilities, or vote."""

import numpy as np
import pandas as pd

from fer_cli.evaluation.metrics import LabelledPredictions, compute_metrics

#: Papers report either, mostly without saying which.
RULES = ("average", "vote")


def by_sequence(predictions: pd.DataFrame, classes: tuple[str, ...]) -> dict[str, pd.DataFrame]:
    """Every metric with its interval, each sequence one prediction, by each of the :data:`RULES`.

    Empty where no sequence has more than one frame. The metrics of ``vote`` that need probabilities are NaN.
    """
    merged = merge(predictions, classes)
    if len(merged) == len(predictions):
        return {}
    tables = {}
    for rule in RULES:
        rows = merged.assign(predicted=merged[rule])
        predictions = LabelledPredictions.of(rows, classes, with_probabilities=rule == "average")
        tables[rule], _ = compute_metrics(predictions)
    return tables


def merge(predictions: pd.DataFrame, classes: tuple[str, ...]) -> pd.DataFrame:
    """A row a sequence: ``subject, label, frames``, the mean of each ``p_<class>``, and ``average`` and ``vote``.

    A sequence is the frames of one subject, sequence and true label: where neutral is a class, a sequence's first frame
    is not merged with its apex. A row without a sequence stands alone. ``average`` is the class of the highest mean
    probability, ``vote`` that predicted for most frames; of classes with equally many votes the one with the higher
    mean probability wins.
    """
    shares = [f"p_{name}" for name in classes]
    alone = predictions["sequence"].isna()
    # A row that stands alone has its file name for a sequence; the flag keeps it apart from a sequence of that name.
    keys = [
        predictions["subject"],
        predictions["sequence"].where(~alone, predictions["file_name"]),
        alone,
        predictions["label"],
    ]
    sequences = predictions.groupby(keys, dropna=False, sort=False).ngroup().to_numpy()
    first = predictions.loc[~pd.Series(sequences).duplicated().to_numpy(), ["subject", "label"]]
    merged = first.reset_index(drop=True)
    count = len(merged)
    merged["frames"] = np.bincount(sequences, minlength=count)
    for name in shares:
        merged[name] = np.bincount(sequences, weights=predictions[name], minlength=count) / merged["frames"]
    place = pd.Index(classes).get_indexer(predictions["predicted"])
    votes = np.bincount(sequences * len(classes) + place, minlength=count * len(classes)).reshape(count, -1)
    means = merged[shares].to_numpy()
    names = np.array(classes, dtype=object)
    merged["average"] = names[means.argmax(axis=1)]
    # Votes are whole numbers and probabilities at most 1, so that half of one only decides between equals.
    merged["vote"] = names[(votes + means / 2).argmax(axis=1)]
    return merged
