"""What a corpus holds against what its owners promise, without writing anything."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from fer_cli.corpora.corpus import Corpus
from fer_cli.dataset.left_out import grouped
from fer_cli.dataset.plan import Plan, make_plan
from fer_cli.dataset.preparation import Preparation
from fer_cli.files import as_text
from fer_cli.labels import EXPRESSIONS


@dataclass(frozen=True)
class Check:
    """A corpus looked through.

    ``counts`` has a row a thing that is counted, with the columns ``found`` and ``promised`` (NA where the owners say
    nothing). ``classes`` has a row a class: ``sequences or stills``, ``pictures``, ``subjects``. ``folds`` has a row a
    fold: ``subjects``, ``sequences or stills``, ``pictures``.
    """

    plan: Plan
    counts: pd.DataFrame
    classes: pd.DataFrame
    folds: pd.DataFrame

    @property
    def left_out(self) -> list[dict]:
        """What would be left out, by reason."""
        return grouped(self.plan.left_out)

    @property
    def as_promised(self) -> bool:
        """Whether every count is the owners'."""
        told = self.counts.dropna()
        return bool((told["found"] == told["promised"]).all())


def check(corpus: Corpus, root: Path, settings: Preparation | None = None) -> Check:
    """Look through the corpus at ``root``; raises what :func:`fer_cli.dataset.plan.make_plan` raises."""
    plan = make_plan(corpus, root, settings or Preparation())
    records = plan.reading.records
    found = Counter(plan.reading.found)
    subjects = {record.subject for record in records if record.subject is not None}
    if subjects:
        found["subjects"] = len(subjects)
    names = [*found, *(name for name in corpus.promises if name not in found)]
    counts = pd.DataFrame(
        {"found": [found[name] for name in names], "promised": [corpus.promises.get(name) for name in names]},
        index=pd.Index(names, name="what"),
    ).astype("Int64")
    shown = [sample for sample in plan.samples if sample.label in plan.protocol.classes]
    table = pd.DataFrame(
        {
            "label": [sample.label for sample in shown],
            "subject": [sample.subject for sample in shown],
            "one": [
                f"{sample.subject}/{sample.sequence}/{sample.label}" if sample.sequence else as_text(sample.frame.path)
                for sample in shown
            ],
            "fold": pd.array([plan.fold_of.get(sample.subject or "") for sample in shown], dtype="Int64"),
        }
    )
    order = [name for name in EXPRESSIONS if name in plan.protocol.classes]
    return Check(plan, counts, _counted(table, "label").reindex(order, fill_value=0), _counted(table, "fold"))


def _counted(table: pd.DataFrame, by: str) -> pd.DataFrame:
    groups = table.groupby(by)
    return pd.DataFrame(
        {
            "subjects": groups["subject"].nunique(),
            "sequences or stills": groups["one"].nunique(),
            "pictures": groups.size(),
        }
    )
