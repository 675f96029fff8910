"""Subject-independent folds: a subject is in one fold and no other."""

from collections import defaultdict
from collections.abc import Iterable

from fer_cli.errors import DatasetError, UsageError


def assign_folds(samples: Iterable[tuple[str, str]], folds: int, rule: str) -> dict[str, int]:
    """The fold, counted from 0, of every subject among ``samples``, which are pairs of subject and label.

    ``id-step`` is the rule published for CK+: sort the subjects' IDs in ascending order; fold *k* is ``ids[k::folds]``.
    ``stratified-group`` balances the classes over the folds with scikit-learn's ``StratifiedGroupKFold``, over samples
    in sorted order. Neither depends on the order in which samples are given.

    Raises :class:`~fer_cli.errors.DatasetError` if a class is shown by fewer subjects than there are folds, for then
    some fold could not test it.
    """
    if folds < 3:
        raise UsageError(
            f"--folds {folds}: at least 3 are needed, one to train on, one to choose the epoch by, one to test.",
            hint="Type --folds 3 or more.",
        )
    samples = sorted(samples)
    subjects_of = defaultdict(set)
    for subject, label in samples:
        subjects_of[label].add(subject)
    too_few = {label: len(subjects) for label, subjects in subjects_of.items() if len(subjects) < folds}
    if too_few:
        shown = ", ".join(f"{label} by {count}" for label, count in sorted(too_few.items()))
        fewest = min(too_few.values())
        hints = [f"--folds {fewest}"] if fewest >= 3 else []
        kept = [label for label in subjects_of if label not in too_few]
        if len(kept) >= 2:
            hints.append(f"--classes {','.join(sorted(kept))}")
        raise DatasetError(
            f"Some classes are shown by fewer subjects than the {folds} folds: {shown}. "
            "A fold without any of a class cannot test it.",
            hint=f"Type {' or '.join(hints)}." if hints else "More subjects are needed to make folds.",
        )
    if rule == "id-step":
        ids = sorted({subject for subject, _ in samples})
        return {subject: fold for fold in range(folds) for subject in ids[fold::folds]}
    if rule == "stratified-group":
        from sklearn.model_selection import StratifiedGroupKFold

        groups = [subject for subject, _ in samples]
        labels = [label for _, label in samples]
        splitter = StratifiedGroupKFold(n_splits=folds)
        return {
            groups[row]: fold
            for fold, (_, tested) in enumerate(splitter.split(groups, labels, groups))
            for row in tested
        }
    raise UsageError(f"--fold-rule {rule}: not a rule.", hint="Type id-step or stratified-group.")
