"""Identity that remains in an embedding.

A linear probe asks whether a person can be named from it (G. Alain and Y. Bengio, *Understanding intermediate layers
using linear classifier probes*, arXiv 1610.01644); verification, whether two pictures can be told to be of one person.
An embedding that ignores identity leaves both at chance.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fer_cli.errors import DatasetError

#: Pairs grow with the square of the pictures: of more, so many are drawn.
MOST_PICTURES = 2000


@dataclass(frozen=True)
class IdentityProbe:
    """How well subjects can be identified from an embedding.

    ``identification`` is the accuracy of the linear probe, the mean over the ``subjects`` of the part of their
    ``pictures`` that it names rightly, which ``named`` holds; by chance that is ``chance``, one in so many subjects.
    ``auc`` and ``eer`` are of verification: the area under the ROC curve and the equal error rate over ``same`` pairs
    of one person and ``different`` pairs of two; by chance both are 0.5, and NaN where no pair of one kind is left.
    """

    identification: float
    chance: float
    auc: float
    eer: float
    subjects: int
    pictures: int
    same: int
    different: int
    named: tuple[float, ...]


def probe_identity(
    embeddings: np.ndarray,
    subjects: Sequence[str | None],
    sequences: Sequence[str | None],
    labels: Sequence[str] | None = None,
    *,
    seed: int = 0,
) -> IdentityProbe:
    """Probe ``embeddings``, N×D, of pictures of the ``subjects``, taken in the ``sequences`` (None: a single picture).

    Enrolment and probe frames are apart: each subject's sequences are dealt to two halves by ``seed``; a standardised
    logistic regression is fitted on one half and tested on the other, and the other way round. Subjects with one
    sequence, and pictures without a subject, are excluded.

    Verification compares standardised embeddings by their cosine, over pairs of different sequences. With ``labels``
    (N expressions) both kinds of pairs show two different expressions: else most pairs of one person would, and those
    of two would not, so that the expression told them apart.

    Of more than :data:`MOST_PICTURES` pictures so many are drawn, by ``seed`` too.

    Raises ``ValueError`` if the lengths differ or a number is not finite, and
    :class:`~fer_cli.errors.DatasetError` if fewer than two subjects have two sequences.
    """
    embeddings = np.asarray(embeddings, dtype=np.float64)
    rows = pd.DataFrame({"subject": list(subjects), "sequence": list(sequences)})
    rows["label"] = None if labels is None else list(labels)
    if embeddings.ndim != 2 or len(embeddings) != len(rows) or not np.isfinite(embeddings).all():
        raise ValueError(f"{len(rows)} pictures, and embeddings of shape {embeddings.shape} or with no finite numbers")
    rows["sequence"] = rows["sequence"].where(rows["sequence"].notna(), "picture " + rows.index.astype(str))
    generator = np.random.default_rng(seed)
    if len(rows) > MOST_PICTURES:
        drawn = np.sort(generator.choice(len(rows), MOST_PICTURES, replace=False))
        rows, embeddings = rows.iloc[drawn], embeddings[drawn]
    included = rows["subject"].notna() & (rows.groupby("subject")["sequence"].transform("nunique") > 1)
    rows, embeddings = rows[included].reset_index(drop=True), embeddings[included.to_numpy()]
    if rows["subject"].nunique() < 2:
        raise DatasetError(
            "The identity probe is tested on other sequences than it learns from, and fewer than two of the subjects "
            "tested have two sequences or pictures.",
            hint="Type no --identity-probe, or evaluate on a dataset with more pictures of each person.",
        )
    right = _name(embeddings, rows, _halves(rows, generator)) == rows["subject"].to_numpy(dtype=str)
    named = pd.Series(right).groupby(rows["subject"]).mean()
    auc, eer, same, different = _verify(embeddings, rows)
    return IdentityProbe(
        identification=float(named.mean()),
        chance=1 / len(named),
        auc=auc,
        eer=eer,
        subjects=len(named),
        pictures=len(rows),
        same=same,
        different=different,
        named=tuple(named),
    )


def _halves(rows: pd.DataFrame, generator: np.random.Generator) -> np.ndarray:
    """0 or 1 a row: each subject's sequences shuffled, and dealt to the two in turn."""
    once = rows[["subject", "sequence"]].drop_duplicates()
    once = once.iloc[generator.permutation(len(once))]
    once["half"] = once.groupby("subject").cumcount() % 2
    return rows.merge(once, on=["subject", "sequence"])["half"].to_numpy()


def _name(embeddings: np.ndarray, rows: pd.DataFrame, half: np.ndarray) -> np.ndarray:
    """The subject that the probe names for each row, having learned from the other half."""
    subjects = rows["subject"].to_numpy(dtype=str)
    named = np.empty_like(subjects)
    for tested in (0, 1):
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        with warnings.catch_warnings():
            # A probe that has not quite settled names nearly the same people.
            warnings.simplefilter("ignore", ConvergenceWarning)
            probe.fit(embeddings[half != tested], subjects[half != tested])
        named[half == tested] = probe.predict(embeddings[half == tested])
    return named


def _verify(embeddings: np.ndarray, rows: pd.DataFrame) -> tuple[float, float, int, int]:
    """The AUC, the EER, and how many pairs of one person and of two they are over."""
    directions = StandardScaler().fit_transform(embeddings)
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    directions = np.divide(directions, lengths, out=np.zeros_like(directions), where=lengths > 0)
    one, other = np.triu_indices(len(rows), 1)
    subject, sequence, label = (pd.factorize(rows[name])[0] for name in ("subject", "sequence", "label"))
    same = subject[one] == subject[other]
    compared = ~(same & (sequence[one] == sequence[other])) & ((label[one] != label[other]) | (label[one] < 0))
    same, alike = same[compared], (directions @ directions.T)[one[compared], other[compared]]
    if same.all() or not same.any():
        return float("nan"), float("nan"), int(same.sum()), int((~same).sum())
    accepted, detected, _ = roc_curve(same, alike)
    return (
        float(roc_auc_score(same, alike)),
        _equal_error_rate(accepted, detected),
        int(same.sum()),
        int((~same).sum()),
    )


def _equal_error_rate(accepted: np.ndarray, detected: np.ndarray) -> float:
    """Where the ROC curve, between its points a straight line, accepts as many strangers as it rejects of one's own."""
    return float(np.interp(0, accepted + detected - 1, accepted))
