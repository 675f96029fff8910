"""Samples made of records, the neutral picture that each is paired with, and subject-independent folds."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from fer_cli.corpora.base import Frame, Sequence, Skipped, Still
from fer_cli.errors import DatasetError, UsageError
from fer_cli.labels import NEUTRAL

if TYPE_CHECKING:
    import pandas as pd

#: How the reasons end for which a picture has none to be compared with; it is kept as a single picture.
UNPAIRED = "(unpaired)"


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture that the dataset needs.

    ``role`` is ``neutral`` for a face at rest, ``apex`` for one that shows its label. ``neutral`` is the picture of
    the same subject that it is compared with, never itself, and None where there is no other. ``votes`` are as in
    :class:`~fer_cli.corpora.base.Still`, and ``label`` is None where they agree on none.
    """

    frame: Frame
    label: str | None
    subject: str | None
    sequence: str | None
    role: str
    neutral: Frame | None = None
    split: str | None = None
    votes: tuple[int, ...] | None = None


@dataclass(slots=True)
class Pairing:
    """The samples of a corpus, and what the rules skipped."""

    samples: list[Sample] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


def pair(records: list[Sequence | Still], classes: tuple[str, ...]) -> Pairing:
    """The samples that ``classes`` ask for, each with a neutral picture of the same subject in the same view.

    Whether a sample and its neutral picture come from one take (a sequence, or what a still calls its session) must not
    depend on its class, or the pairing gives the class away. A neutral picture is never its own neutral, so there are
    two rules, each the same for every class:

    - Without ``neutral`` among ``classes``, each sample is compared with the first neutral picture of its own take.
    - With it, no sample is: a neutral picture is compared with the subject's next one of another take, and every other
      sample with that with which the neutral picture of its own take is compared.

    A still without a session is a take of its own. It stands with any neutral picture of its subject and view, with
    ``neutral`` among ``classes`` the first of each class with the first, the second with the second and so on, so that
    all classes are compared with the same pictures. A sample without such a neutral picture is unpaired, and listed
    among the skipped. A still without a label that has votes is a sample, unpaired.
    """
    pairing = Pairing()
    wanted = [record for record in records if _belongs(record, classes, pairing.skipped)]
    at_rest = _at_rest(wanted)
    neutral_subjects = {subject for subject, _ in at_rest}
    across = NEUTRAL in classes
    ranks: Counter[tuple[Any, ...]] = Counter()
    for record in wanted:
        neutral = None
        if record.label is not None and record.subject is not None and (across or record.label != NEUTRAL):
            neutrals = at_rest.get((record.subject, record.view), _AtRest())
            neutral = neutrals.across(record, ranks) if across else neutrals.within(record)
            if neutral is None:
                pairing.skipped.append(Skipped(_place(record), _why(record, neutral_subjects, across), fault=False))
        pairing.samples += _samples(record, neutral, across)
    pairing.samples = _each_neutral_once(pairing.samples)
    if not across:
        needed = {sample.neutral for sample in pairing.samples}
        pairing.samples = [sample for sample in pairing.samples if sample.role != "neutral" or sample.frame in needed]
    return pairing


def neutral_pictures(metadata: "pd.DataFrame", count: int) -> dict[str, list[str]]:
    """Up to ``count`` neutral pictures of its subject for each paired row of a dataset's ``metadata``, its own first.

    By file names. The conditions are those of :func:`pair`, so that the set says no more of a class than its first
    picture does: where ``neutral`` is a class, what the neutral pictures are compared with themselves, one after
    another, none of the row's own sequence; elsewhere the neutral pictures of the subject's other sequences, for a
    still's neutral pictures may be of other views.
    """
    neutral_of: dict[Any, str] = metadata.set_index("file_name")["neutral_file_name"].dropna().to_dict()
    sequence_of = metadata.set_index("file_name")["sequence"].dropna().to_dict()
    resting = metadata[metadata["label"] == NEUTRAL]
    across = resting["neutral_file_name"].notna().any()
    of_subject = resting[resting["sequence"].notna()].groupby("subject")["file_name"].agg(list).to_dict()
    subject_of = metadata.set_index("file_name")["subject"].dropna().to_dict()

    @cache
    def following(first: str) -> list[str]:
        if not across:
            others = of_subject.get(subject_of.get(first), [])
            place = others.index(first) if first in others else len(others) - 1
            return [first] + [name for name in others[place + 1 :] + others[: place + 1] if name != first]
        chain = [first]
        while (name := neutral_of.get(chain[-1])) is not None and name not in chain:
            chain.append(name)
        # The round ends with the picture that is compared with the first: the row's own, or one of its take.
        return chain[:-1] if len(chain) > 1 and name is not None else chain

    def allowed(row: str, first: str) -> list[str]:
        own = sequence_of.get(row) if across else None
        return [name for name in following(first) if name == first or own is None or sequence_of.get(name) != own]

    return {row: allowed(row, first)[:count] for row, first in neutral_of.items()}


def pairing_rule(records: list[Sequence | Still], classes: tuple[str, ...], session: str) -> str:
    """The rule of :func:`pair` for these records in a few words; ``session`` is what their sessions are called."""
    shown = [record for record in records if record.label != NEUTRAL and record.subject is not None]
    if any(_take(record) for record in shown):
        own = any(isinstance(record, Sequence) and record.neutral is not None for record in shown)
        return f"neutral of {'another' if NEUTRAL in classes else 'the same'} {'sequence' if own else session}"
    return ("another" if NEUTRAL in classes else "a") + " neutral picture of the subject" if shown else ""


def unpaired(samples: list[Sample], classes: tuple[str, ...]) -> list[Sample]:
    """The samples that show one of ``classes``, or are kept for their votes alone, compared with nothing."""
    return [replace(sample, neutral=None) for sample in samples if sample.label in classes or sample.label is None]


def _belongs(record: Sequence | Still, classes: tuple[str, ...], skipped: list[Skipped]) -> bool:
    where = _place(record)
    if record.label is None and isinstance(record, Still) and record.votes is not None:
        return True
    if record.label is None:
        skipped.append(Skipped(where, "no emotion label", fault=False))
        return False
    # A neutral still is wanted as a reference even where neutral is no class.
    if record.label not in classes and not (record.label == NEUTRAL and isinstance(record, Still)):
        skipped.append(Skipped(where, f"{record.label} is not among the classes", fault=False))
        return False
    return True


def _place(record: Sequence | Still) -> str:
    frame = record.frames[0] if isinstance(record, Sequence) else record.frame
    return str(frame.path.parent if isinstance(record, Sequence) and frame.kind == "picture" else frame.path)


def _take(record: Sequence | Still) -> str | None:
    if isinstance(record, Sequence):
        return None if record.neutral is None else record.sequence
    return record.session


def _neutral_frame(record: Sequence | Still) -> Frame | None:
    if isinstance(record, Sequence):
        return None if record.neutral is None else record.frames[record.neutral]
    return record.frame if record.label == NEUTRAL else None


class _AtRest:
    """The neutral pictures of one subject in one view, in the order of the records, each with its take."""

    def __init__(self) -> None:
        self._frames: list[Frame] = []
        self._takes: list[str | None] = []
        self._places: dict[Frame, int] = {}
        self._of_take: dict[str | None, list[int]] = defaultdict(list)

    def add(self, frame: Frame, take: str | None) -> None:
        """A further neutral picture; one that is there already is passed over."""
        if frame not in self._places:
            place = self._places[frame] = len(self._frames)
            self._frames.append(frame)
            self._takes.append(take)
            self._of_take[take].append(place)

    def within(self, record: Sequence | Still) -> Frame | None:
        """The first one of the record's own take."""
        own = self._own(record)
        return self._frames[own[0]] if own else None

    def across(self, record: Sequence | Still, ranks: Counter[tuple[Any, ...]]) -> Frame | None:
        """One of another take than the record's, ``ranks`` counting the records of a class and take met before."""
        frame = _neutral_frame(record)
        if frame is not None:
            return self._next(self._places[frame])
        if not self._frames:
            return None
        kind = (record.subject, record.view, _take(record), record.label)
        own = self._own(record) or range(len(self._frames))
        place = own[ranks[kind] % len(own)]
        ranks[kind] += 1
        other = self._next(place)
        if other is None and (_take(record) is None or self._takes[place] != _take(record)):
            return self._frames[place]
        return other

    def _own(self, record: Sequence | Still) -> "list[int] | range":
        take = _take(record)
        return range(len(self._frames)) if take is None else self._of_take.get(take, [])

    def _next(self, place: int) -> Frame | None:
        """The next one round that is of another take; a picture without one is a take of its own."""
        following = self._following[place]
        return None if following is None else self._frames[following]

    @cached_property
    def _following(self) -> list[int | None]:
        """The place of the next frame round of another take, for each place: in linear time, for takes may be long."""
        takes = self._takes
        following: list[int | None] = [None] * len(takes)
        # Twice, because what follows the last ones is only known after the first ones.
        for place in [*reversed(range(len(takes)))] * 2:
            other = (place + 1) % len(takes)
            apart = other != place and (takes[other] is None or takes[other] != takes[place])
            following[place] = other if apart else following[other]
        return following


def _at_rest(records: list[Sequence | Still]) -> dict[tuple[str, str | None], _AtRest]:
    found: dict[tuple[str, str | None], _AtRest] = defaultdict(_AtRest)
    for record in records:
        frame = _neutral_frame(record)
        if frame is not None and record.subject is not None:
            found[record.subject, record.view].add(frame, _take(record))
    return dict(found)


def _why(record: Sequence | Still, neutral_subjects: set[str], across: bool) -> str:
    if record.subject not in neutral_subjects:
        return f"no neutral picture of this subject {UNPAIRED}"
    if across:
        return f"no second neutral picture of this subject {UNPAIRED}"
    return f"no neutral picture of this subject under the same conditions {UNPAIRED}"


def _samples(record: Sequence | Still, neutral: Frame | None, across: bool) -> list[Sample]:
    """The record's samples, compared with ``neutral``; its own neutral frame only ``across`` takes."""
    if isinstance(record, Still):
        role = "neutral" if record.label == NEUTRAL else "apex"
        return [Sample(record.frame, record.label, record.subject, None, role, neutral, record.split, record.votes)]

    def sample(index: int, role: str, label: str | None, other: Frame | None) -> Sample:
        return Sample(record.frames[index], label, record.subject, record.sequence, role, other)

    own = [] if record.neutral is None else [sample(record.neutral, "neutral", NEUTRAL, neutral if across else None)]
    return own + [sample(index, "apex", record.label, neutral) for index in record.apexes]


def _each_neutral_once(samples: list[Sample]) -> list[Sample]:
    met: set[Frame] = set()
    once = []
    for sample in samples:
        if sample.role == "neutral":
            if sample.frame in met:
                continue
            met.add(sample.frame)
        once.append(sample)
    return once


def assign_folds(
    samples: Iterable[tuple[str, str]], folds: int, rule: str, *, seed: int | None = None
) -> dict[str, int]:
    """The fold, counted from 0, of every subject among ``samples``, which are pairs of subject and label.

    ``id-step`` is the rule published for CK+: sort the subjects' IDs in ascending order; fold *k* is ``ids[k::folds]``.
    ``stratified-group`` balances the classes over the folds with scikit-learn's ``StratifiedGroupKFold``, over samples
    in sorted order; with a ``seed`` they are shuffled first. Neither depends on the order in which samples are given.

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
        splitter = StratifiedGroupKFold(n_splits=folds, shuffle=seed is not None, random_state=seed)
        return {
            groups[row]: fold
            for fold, (_, tested) in enumerate(splitter.split(groups, labels, groups))
            for row in tested
        }
    raise UsageError(f"--fold-rule {rule}: not a rule.", hint="Type id-step or stratified-group.")
