"""Leakage: subjects of a test whom the model has seen, refused by name or stamped on all results."""

from dataclasses import dataclass

import pandas as pd

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.errors import DatasetError, RunError
from fer_cli.runs.run import Run, names, seen_behind, shared_subjects, unlisted_behind


@dataclass(frozen=True)
class Leakage:
    """The subjects of a test that the model was trained on or its epoch chosen by; false where there are none.

    ``pictures`` counts those of people who are not named, where only the pictures can be recognised.
    """

    subjects: tuple[str, ...] = ()
    pictures: int = 0

    def __bool__(self) -> bool:
        return bool(self.subjects or self.pictures)

    @property
    def _what(self) -> str:
        parts = [f"{len(self.subjects)} subjects"] if self.subjects else []
        return " and ".join(parts + ([f"{self.pictures} pictures"] if self.pictures else []))

    @property
    def stamp(self) -> str:
        """The words with which every result of a test with leakage is stamped; empty without."""
        return f"; TESTED ON {self._what.upper()} THAT THE MODEL WAS TRAINED ON" if self else ""

    @property
    def notes(self) -> tuple[str, ...]:
        """The same for the notes, by name."""
        if not self:
            return ()
        who = f" ({names(list(self.subjects))})" if self.subjects else ""
        return (f"The model was trained on {self._what} of this test{who}, which was insisted on.",)


def check_leakage(run: Run, dataset: PreparedDataset, rows: pd.DataFrame, *, allow_seen: bool) -> Leakage:
    """The part of ``rows`` that the run's model has seen, which only a person who insists (``allow_seen``) gets.

    Subjects that the run does not list are known by its test fold, where ``dataset`` is one that it was trained on.
    Raises :class:`~fer_cli.errors.RunError` with their names otherwise.
    """
    corpus = dataset.card["corpus"]
    tested = set(rows["subject"].dropna())
    behind = [(dataset.known_as(each["fingerprint"]), each) for each in unlisted_behind(run.path)]
    unlisted = [(data, each) for data, each in behind if data is not None]
    people = [tested & data.trained_subjects(each["fold"], extra=each["extra"]) for data, each in unlisted]
    subjects = sorted({*shared_subjects(seen_behind(run.path), corpus, tested), *set().union(*people)})
    leakage = Leakage(tuple(subjects), _pictures(run, dataset, rows, unlisted=bool(unlisted)))
    if not leakage or allow_seen:
        return leakage
    if subjects:
        raise RunError(
            f"{run.path} was trained on {len(subjects)} of the {corpus} subjects in this test "
            f"({names(subjects)}), or its epoch was chosen by them: the accuracy would be that of faces "
            "seen in training.",
            hint=_UNSEEN
            if unlisted
            else "fer evaluate without --data and --split tests the fold it has not seen. If these are other people of "
            "the same names, type --allow-seen-subjects.",
        )
    raise RunError(
        f"{run.path} was trained on {leakage.pictures} of the {corpus} pictures in this test, or its epoch was chosen "
        "by them: the accuracy would be that of faces seen in training.",
        hint=_UNSEEN,
    )


_UNSEEN = "Type --split test for those it has not seen, or --allow-seen-subjects to insist."


def _pictures(run: Run, dataset: PreparedDataset, rows: pd.DataFrame, *, unlisted: bool) -> int:
    """The number of pictures of unnamed people that the owners' split of a corpus of the run keeps from the test."""
    unnamed = rows[rows["subject"].isna()]
    extra = {each["corpus"] for each in run.card.get("extra_data", [])}
    corpus = dataset.card["corpus"]
    # Of a corpus that the run does not list, as any folder of pictures is, another dataset shows other people.
    listed = corpus in run.seen and corpus in {run.card["dataset"].get("corpus"), *extra}
    if unnamed.empty or not (listed or unlisted):
        return 0
    try:
        test = dataset.split(run.fold, paired=False)["test"]["file_name"]
    except DatasetError:
        # Without a split nothing says which pictures are the same; but all of further data trained then.
        return len(unnamed) if unlisted or corpus in extra else 0
    return int((~unnamed["file_name"].isin(test)).sum())
