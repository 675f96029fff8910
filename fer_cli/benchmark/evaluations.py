"""Evaluations of a benchmark's cells: within a corpus, across corpora, by the number of subjects, of what is there."""

import hashlib
import json
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

import numpy as np
import pandas as pd
import torch

import fer_cli
from fer_cli.benchmark.cells import DATASETS, OUT, PREDICTIONS, VERSION, Cell, CellResult, command_of, draw_name
from fer_cli.benchmark.specification import Specification
from fer_cli.dataset.draws import redraw
from fer_cli.dataset.duplicates import same_people
from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.documents import read_document
from fer_cli.errors import DiskFullError, FerError, RunError
from fer_cli.evaluation.chance import OF_A_GUESSER, adjusted_chance
from fer_cli.evaluation.evaluate import EvaluateOptions
from fer_cli.evaluation.external import evaluate_predictions
from fer_cli.evaluation.inference import Inference, Neutral, Split, run_inference
from fer_cli.evaluation.metrics import METRICS, LabelledPredictions, compute_metrics
from fer_cli.files import locked, write_json, written_whole
from fer_cli.labels import in_order
from fer_cli.options import DEFAULT_SESSION, Session
from fer_cli.prediction.neutral.scoring import find_neutrals
from fer_cli.runs.run import EVALUATION, Run, seen_behind, shared_subjects, unlisted_behind
from fer_cli.training.fit import already_trained, fit

#: The record of a cell. Written last: a folder without it is not done.
CARD, TABLE = "cell.json", "predictions.csv"
#: The folder of the trainings that cells share, next to that of the cells.
TRAININGS = "trainings"


class _StoredCell(TypedDict):
    version: int
    digest: str
    status: str
    rows: list[dict[str, Any]]
    #: Of each row, by metric.
    chance: NotRequired[list[dict[str, float]]]
    predictions: NotRequired[str | None]
    reason: str
    seconds: float


@dataclass(frozen=True)
class _Test:
    """Predictions of one model, as :class:`~fer_cli.evaluation.results.Evaluation` has them, and what is said of them.

    ``train_n`` counts the samples that it was trained on, None where nobody knows. ``neutral`` is the access that
    another program's table says, if it says one.
    """

    predictions: pd.DataFrame
    classes: tuple[str, ...]
    about: str
    notes: tuple[str, ...]
    fold: int | None = None
    train_n: int | None = None
    neutral: str = ""

    @classmethod
    def of(cls, inference: Inference) -> "_Test":
        counts = inference.run.card.get("counts", {})
        extra = sum(each.get("count", 0) for each in inference.run.card.get("extra_data", []))
        train_n = counts["train"] + extra if "train" in counts else None
        return cls(
            inference.predictions, inference.classes, inference.about, inference.notes, inference.run.fold, train_n
        )


def load(cell: Cell, folder: Path, metric: str) -> CellResult | None:
    """The result of ``cell`` that is stored in ``folder``, with the chance level of ``metric``; None if it is not done.

    A cell is the same whichever metric decides, so that the levels of all are stored.
    """
    try:
        stored = read_document(folder / CARD, _StoredCell, RunError)
    except RunError:
        return None
    if stored["version"] != VERSION or stored["digest"] != cell.digest:
        return None
    table = folder / TABLE if stored["status"] == "done" else None
    if table is not None and not table.is_file():
        return None
    metrics = {f"{name}{end}" for name in METRICS for end in ("", "_low", "_high")}
    rows = tuple(
        {
            **{name: math.nan if value is None and name in metrics else value for name, value in row.items()},
            "chance": levels.get(metric, row.get("chance", math.nan)),
        }
        for row, levels in zip(stored["rows"], stored.get("chance", [{}] * len(stored["rows"])), strict=True)
    )
    return CellResult(cell, stored["status"], rows, table, stored["reason"], stored["seconds"])


def compute(cell: Cell, specification: Specification, folder: Path, session: Session = DEFAULT_SESSION) -> CellResult:
    """Compute ``cell`` into ``folder``, which is OUT/cells/DIGEST; what is done already is read.

    What it trains goes to OUT/trainings and the draws of datasets to OUT/datasets, where other cells find them; an
    interrupted training is continued. A cell that cannot be computed, for what it needs is not there, does not fit,
    takes more memory than there is, or diverges, has failed with its reason; it is tried again by the next call.
    Whatever else is raised is a fault of the program.
    """
    stored = load(cell, folder, specification.metric)
    if stored is not None:
        return stored
    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    work = _Work(cell, specification, folder, session)
    try:
        rows, table = work.rows()
    except DiskFullError:
        raise
    except FerError as error:
        return _failed(work, error.message)
    except (MemoryError, torch.OutOfMemoryError):
        return _failed(work, "There is too little memory.")
    with written_whole(folder / TABLE) as part:
        table.to_csv(part, index=False, float_format="%.6g")
    write_json(
        folder / CARD,
        {
            "version": VERSION,
            "digest": cell.digest,
            "title": cell.title,
            "status": "done",
            "reason": "",
            "seconds": round(time.monotonic() - started, 3),
            "chance": [row.pop("chance") for row in rows],
            "rows": [{name: _storable(value) for name, value in row.items()} for row in rows],
        },
    )
    return cast(CellResult, load(cell, folder, specification.metric))


def _failed(work: "_Work", reason: str) -> CellResult:
    reason = work.without_paths(reason)
    return CellResult(work.cell, "failed", ({**work.facts(), "status": "failed", "reason": reason},), reason=reason)


def _storable(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and math.isnan(value) else value


@dataclass(frozen=True)
class _Work:
    """A cell under way, in a folder of its own."""

    cell: Cell
    specification: Specification
    folder: Path
    session: Session

    @property
    def out(self) -> Path:
        """The benchmark's folder, in which the cell's own is OUT/cells/DIGEST."""
        return self.folder.parents[1]

    def rows(self) -> tuple[list[dict[str, Any]], pd.DataFrame]:
        """The rows of the table of results, and the predictions."""
        tests, pooled = self._tests()
        table = pd.concat([test.predictions for test in tests], ignore_index=True)
        classes = in_order({name for test in tests for name in test.classes})
        shares = [f"p_{name}" for name in classes]
        # Another program need not give probabilities.
        if table.columns.isin(shares).any():
            table[shares] = table.reindex(columns=shares).fillna(0.0)
        metrics = pooled if pooled is not None else compute_metrics(LabelledPredictions.of(table, classes))[0]
        values: dict[str, float] = {}
        for name in METRICS:
            ends = zip(("", "_low", "_high"), metrics.loc[name, ["value", "low", "high"]], strict=True)
            values |= {f"{name}{end}": float(value) for end, value in ends}
        counts = [test.train_n for test in tests if test.train_n is not None]
        rows = [
            {
                **self._about(table, classes, tests),
                "fold": None,
                "train_n": round(float(np.mean(counts))) if counts else None,
                **values,
            }
        ]
        if self.cell.evaluation == "within":
            rows += [self._of_fold(test) for test in tests]
        return rows, table

    def facts(self) -> dict[str, Any]:
        """The columns that are known before anything is computed."""
        cell = self.cell
        return {
            "cell": cell.digest,
            "recipe": cell.recipe,
            "evaluation": cell.evaluation,
            "train": " + ".join(cell.train),
            "test": cell.test,
            "neutral": cell.neutral,
            "repeat": cell.repeat,
            "seed": cell.seed,
            "train_subjects": cell.train_subjects,
            "fold": None,
            "status": "done",
            "reason": "",
            "command": command_of(cell, self.specification),
        }

    def without_paths(self, text: str) -> str:
        """The ``text`` with datasets by name, :data:`OUT` for the benchmark, and other paths from SPEC's own folder."""
        datasets = ((path, name) for name, path in self.specification.datasets.items())
        for folder, stands in (*datasets, (self.out.resolve(), OUT), (self.out, OUT)):
            text = text.replace(str(folder), stands)
        return text.replace(f"{self.specification.folder}{os.sep}", "")

    def _about(self, table: pd.DataFrame, classes: Sequence[str], tests: Sequence[_Test]) -> dict[str, Any]:
        notes = dict.fromkeys(note for test in tests for note in test.notes)
        return {
            **self.facts(),
            "neutral": tests[0].neutral or self.cell.neutral,
            "n": len(table),
            "subjects": int(table["subject"].nunique()),
            "classes": ", ".join(classes),
            "chance": {name: adjusted_chance(table["label"].to_list(), name) for name in OF_A_GUESSER},
            "protocol": self.without_paths(tests[0].about),
            "notes": self.without_paths(" ".join(notes)),
        }

    def _of_fold(self, test: _Test) -> dict[str, Any]:
        """The row of a fold, whose metrics have no intervals."""
        values = LabelledPredictions.of(test.predictions, test.classes).values()
        return {
            **self._about(test.predictions, test.classes, [test]),
            "fold": test.fold,
            "train_n": test.train_n,
            **{name: float(values[name][0]) for name in METRICS},
            **{f"{name}{end}": math.nan for name in METRICS for end in ("_low", "_high")},
        }

    def _tests(self) -> tuple[list[_Test], pd.DataFrame | None]:
        """The tests of the cell, and the metrics of all together where these are known already."""
        cell, dataset = self.cell, self.specification.dataset
        if cell.evaluation == PREDICTIONS:
            return self._of_what_is_there()
        data = self._drawn(dataset(cell.train[0]))
        if cell.evaluation == "within":
            folds = range(data.protocol.folds or 1)
            return [self._tested(self._trained(data, fold), data, "test") for fold in folds], None
        if cell.evaluation == "learning-curve":
            return [self._tested(self._trained(data, 0), data, "test")], None
        extra = [dataset(name) for name in cell.train[1:]]
        return [self._tested(self._trained(data, 0, extra), dataset(cell.test), "all")], None

    def _of_what_is_there(self) -> tuple[list[_Test], pd.DataFrame | None]:
        """The test of a run on all of the dataset, or of another program's table of predictions."""
        entry, dataset = self.specification.entry(self.cell.recipe), self.specification.dataset(self.cell.test)
        if entry.run is not None:
            return [self._tested(entry.open_run(), dataset, "all")], None
        options = EvaluateOptions(out=self.folder / EVALUATION)
        found = evaluate_predictions(
            entry.folder / entry.predictions[self.cell.test], dataset, options, self.session, pictures=False
        )
        notes = found.notes
        if found.missing is not None:
            value = float(found.missing.metrics["value"].loc[self.specification.metric])
            notes = (*notes, f"With those counted as wrong: {METRICS[self.specification.metric].title} {value:.1%}.")
        test = _Test(found.predictions, found.classes, found.provenance.about, notes, neutral=found.provenance.neutral)
        return [test], found.metrics

    def _drawn(self, dataset: PreparedDataset) -> PreparedDataset:
        """The dataset with the cell's draw of folds and number of training subjects."""
        name = draw_name(self.cell, self.specification)
        if name is None:
            return dataset
        return redraw(
            dataset,
            self.out / DATASETS / name,
            folds=self.specification.folds,
            draw=self.cell.repeat,
            subjects=self.cell.train_subjects,
        )

    def _trained(self, data: PreparedDataset, fold: int, extra: Sequence[PreparedDataset] = ()) -> Run:
        """The run of the cell's recipe that tests ``fold`` of ``data``, trained unless another cell has done it."""
        entry = self.specification.entry(self.cell.recipe)
        recipe = entry.recipe(seed=self.cell.seed, fold=fold, extra_data=tuple(str(each.path) for each in extra))
        datasets = {name: print_ for name, print_ in self.cell.inputs.items() if name.startswith("dataset ")}
        depends: dict[str, Any] = {
            "recipe": self.cell.settings,
            "seed": self.cell.seed,
            "data": data.fingerprint,
            "extra": [datasets[f"dataset {name}"] for name in self.cell.train[1:]] if extra else [],
            "weights": {name: value for name, value in self.cell.inputs.items() if name not in datasets},
            "fer": fer_cli.__version__,
        }
        depends["weights"].pop("folds", None)
        digest = hashlib.sha256(json.dumps(depends, sort_keys=True, default=str).encode()).hexdigest()[:16]
        folder = self.out / TRAININGS / digest / f"fold{fold}"
        folder.parent.mkdir(parents=True, exist_ok=True)
        # The same training of another cell is waited for.
        with locked(folder, "training into", wait=True):
            if already_trained(folder):
                return Run.open(folder)
            return fit(
                recipe,
                data,
                folder,
                device=self.session.device,
                allow_seen=self.specification.allow_seen,
                strangers=[each.path for each in extra if not same_people(data, each)],
                command=self.session.command,
                progress=self.session.progress,
            )

    def _tested(self, run: Run, dataset: PreparedDataset, split: Split) -> _Test:
        session = Session(
            self.session.device, self.specification.allow_seen, progress=self.session.progress, tta=self.session.tta
        )
        neutral: Neutral
        if self.cell.neutral == "found":
            tested = dataset.metadata if split == "all" else dataset.split(run.fold, paired=True)[split]
            neutral = find_neutrals(run, dataset, set(tested["subject"].dropna()), session)
        else:
            neutral = "mean" if self.cell.neutral == "mean" else "given"
        inference = run_inference(
            run,
            dataset.path,
            split=split,
            neutral=neutral,
            calibrated=False,
            strangers=self._strangers(dataset),
            session=session,
        )
        if inference.neutral_access != self.cell.neutral:
            raise RunError(f"{run.path} compares a face with none, and neutral {self.cell.neutral} was asked for.")
        return _Test.of(inference)

    def _strangers(self, tested: PreparedDataset) -> bool:
        """Whether the model has seen nobody of ``tested``, though names may be equal in two folders of anybody's.

        Whether two datasets have pictures in common was checked before. Where the weights that it started from may
        have seen one of them, the names decide.
        """
        cell, corpus = self.cell, tested.card["corpus"]
        if not cell.train or cell.test in cell.train:
            return False
        if any(same_people(self.specification.dataset(name), tested) for name in cell.train):
            return False
        names = set(tested.metadata["subject"].dropna())
        for source in self.specification.entry(cell.recipe).ancestors():
            # What does not name its people is recognised by its dataset, which none of the benchmark's others is.
            listed = any(tested.known_as(each["fingerprint"]) for each in unlisted_behind(source))
            if listed or shared_subjects(seen_behind(source), corpus, names):
                return False
        return True
