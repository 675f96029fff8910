"""Specifications of benchmarks: datasets, recipes and evaluations in a TOML file, and the cells that they come to."""

import dataclasses
import json
import re
import tomllib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import permutations
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from fer_cli.benchmark.cells import EVALUATIONS, NEUTRAL_ACCESS, PREDICTIONS, Cell, Evaluations, NeutralAccess
from fer_cli.benchmark.recipes import (
    RecipeEntry,
    as_field,
    read_recipe,
    require_known,
    require_name,
    require_types,
    with_baseline,
    with_underscores,
)
from fer_cli.benchmark.results import DEFAULT_METRIC
from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.dataset.schema import CARD, METADATA
from fer_cli.errors import DatasetError, FerError, UsageError
from fer_cli.evaluation.metrics import compared_metrics
from fer_cli.files import as_text, read_bytes
from fer_cli.pretrained import NAME, packaged_model
from fer_cli.runs.run import runs_in

_MOST_BYTES = 1_000_000
_Many = Annotated[int, Meta(ge=1, le=1_000)]
#: The types of the keys of a specification.
_KEYS = {
    "title": str,
    "metric": str,
    "seeds": Annotated[list[Annotated[int, Meta(ge=0, lt=1 << 32)]], Meta(min_length=1)],
    "neutral": Annotated[list[Literal["mean", "found", "given"]], Meta(min_length=1)],
    "datasets": dict[str, str],
    "recipes": list[dict[str, Any]],
    "evaluations": dict[str, dict[str, Any]],
    "allow_seen_subjects": bool,
    "allow_shared": bool,
}
_FOLDS = {"folds": Annotated[int, Meta(ge=3, le=1_000)], "repeats": _Many}
_EVALUATIONS: dict[str, dict[str, Any]] = {
    "within": _FOLDS,
    "cross-corpus": {},
    "leave-one-corpus-out": {},
    "learning-curve": {"subjects": Annotated[list[_Many], Meta(min_length=1)], "repeats": _Many},
}
#: How many datasets an evaluation needs, where one is not enough.
_DATASETS = {"cross-corpus": 2, "leave-one-corpus-out": 3}


@dataclass(frozen=True)
class EvaluationSettings:
    """Settings of one of the :data:`~fer_cli.benchmark.cells.EVALUATIONS`.

    ``folds`` is the number of folds, None for each dataset's own. ``repeats`` counts the draws of the folds, the first
    being the dataset's own folds. ``subjects``, of a learning curve, are the numbers of training subjects.
    """

    folds: int | None = None
    repeats: int = 1
    subjects: tuple[int, ...] = ()


@dataclass(frozen=True)
class Specification:
    """What a benchmark compares, on what, and how.

    ``path`` is the TOML file, and ``text`` what it holds. ``metric`` decides; ``seeds`` are those of the trainings;
    ``neutral`` are the accesses to a neutral face with which the paired recipes are tested. ``datasets`` are the
    folders of prepared datasets, by name. With ``allow_seen`` a run is tested on people whom it was trained on too,
    and with ``allow_shared`` datasets may share pictures.

    >>> specification = Specification.open("benchmark.toml")  # doctest: +SKIP
    >>> expand(specification)[0].title  # doctest: +SKIP
    'baseline, within, acted, neutral none'
    """

    path: Path
    text: str
    title: str
    metric: str
    seeds: tuple[int, ...]
    neutral: tuple[NeutralAccess, ...]
    datasets: Mapping[str, Path]
    recipes: tuple[RecipeEntry, ...]
    evaluations: Mapping[Evaluations, EvaluationSettings]
    allow_seen: bool = False
    allow_shared: bool = False

    @classmethod
    def open(cls, path: Path | str) -> "Specification":
        """Read the specification in the TOML file ``path``, and open all that it names.

        Raises :class:`~fer_cli.errors.UsageError` if it cannot be read, or names a key, a recipe, a setting, a metric
        or an evaluation that there is not; :class:`~fer_cli.errors.DatasetError` for a folder that is no prepared
        dataset; :class:`~fer_cli.errors.RunError` for one that is no run.
        """
        path = Path(path)
        try:
            text = read_bytes(path, _MOST_BYTES).decode("utf-8-sig")
            document = tomllib.loads(text)
        except OSError as error:
            raise UsageError(
                f"{path} cannot be read: {error.strerror or error}.",
                hint="fer benchmark --init writes a specification to begin with.",
            ) from error
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path} is not TOML: {error}.") from error
        try:
            specification = cls(path, text, **_read(document, path))
            for entry in specification.recipes:
                entry.check(specification.datasets)
            for dataset in specification.opened.values():
                dataset.samples(paired=False)
        except FerError as error:
            raise type(error)(f"{path}: {error.message}", hint=error.hint) from error
        return specification

    @property
    def folder(self) -> Path:
        """The specification's own folder, from which its paths are."""
        return self.path.resolve().parent

    @cached_property
    def opened(self) -> dict[str, PreparedDataset]:
        """The datasets, by name."""
        return {name: self.dataset(name) for name in self.datasets}

    def dataset(self, name: str) -> PreparedDataset:
        """The dataset called ``name``; raises :class:`~fer_cli.errors.DatasetError` if it cannot be opened."""
        path = self.datasets[name]
        files = [path / METADATA, path / CARD]
        return _opened(path, tuple(file.stat().st_mtime_ns if file.is_file() else 0 for file in files))

    @property
    def folds(self) -> int | None:
        """The number of folds asked for; None for each dataset's own."""
        return self.evaluations.get("within", EvaluationSettings()).folds

    def entry(self, name: str) -> RecipeEntry:
        """The recipe called ``name``."""
        return next(each for each in self.recipes if each.name == name)

    def __getstate__(self) -> dict[str, Any]:
        # Other processes open the datasets themselves.
        return {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}


@lru_cache(maxsize=64)
def _opened(path: Path, changed: tuple[int, ...]) -> PreparedDataset:
    """The dataset at ``path``, opened once a process for all of its cells unless its files have ``changed``."""
    return PreparedDataset.open(path)


def _read(document: dict[str, Any], path: Path) -> dict[str, Any]:
    """The fields of a :class:`Specification` that the ``document`` states."""
    values, folder = with_underscores(document), path.resolve().parent
    require_known("key", values, _KEYS)
    require_types("", values, _KEYS)
    metrics = [metric.name for metric in compared_metrics()]
    metric = values.get("metric", DEFAULT_METRIC)
    require_known("metric", [metric], metrics)
    folders = values.get("datasets", {})
    if not folders:
        raise UsageError("It names no datasets.", hint='Write [datasets] and below it, say, acted = "data/acted".')
    for name in folders:
        require_name("dataset", name)
    recipes = [read_recipe(each, folder) for each in values.get("recipes", [])]
    if not recipes:
        raise UsageError("It names no recipes.", hint='Write [[recipes]] and below it, say, train = "difference".')
    twice = [name for name, count in Counter(each.name for each in recipes).items() if count > 1]
    if twice:
        raise UsageError(f"It has the recipe '{twice[0]}' twice.", hint="Give each a name of its own: name = …")
    evaluations = values.get("evaluations", {"within": {}})
    require_known("evaluation", evaluations, EVALUATIONS)
    for name in evaluations.keys() & _DATASETS.keys():
        if len(folders) < _DATASETS[name]:
            raise UsageError(
                f"The evaluation {name} needs {_DATASETS[name]} datasets or more, and there are {len(folders)}.",
                hint="Name more, or remove the evaluation.",
            )
    return {
        "title": values.get("title", path.stem),
        "metric": metric,
        "seeds": tuple(dict.fromkeys(values.get("seeds", [0]))),
        "neutral": tuple(name for name in NEUTRAL_ACCESS if name in values.get("neutral", ["given"])),
        "datasets": {name: folder / written for name, written in folders.items()},
        "recipes": with_baseline(recipes, folder),
        "evaluations": {name: _settings(name, evaluations[name]) for name in EVALUATIONS if name in evaluations},
        "allow_seen": values.get("allow_seen_subjects", False),
        "allow_shared": values.get("allow_shared", False),
    }


def _settings(name: str, values: dict[str, Any]) -> EvaluationSettings:
    values, types = with_underscores(values), _EVALUATIONS[name]
    require_known(f"setting of {name}", values, types)
    require_types(f"evaluations.{name}: ", values, types)
    if name == "learning-curve" and "subjects" not in values:
        raise UsageError(
            "The learning curve has no numbers of training subjects.", hint="Write, say, subjects = [5, 10, 20, 40]."
        )
    return EvaluationSettings(**{key: as_field(value) for key, value in values.items()})


def expand(specification: Specification) -> list[Cell]:
    """The cells of a benchmark, in an order that depends on the specification alone.

    The cells of a paired recipe come once for each neutral access of the specification. Of cells that share a training
    the first comes before those that find it done, so that processes side by side do not wait for one another.
    Raises as :meth:`Specification.open` does, where what it opened is gone.
    """
    cells = [cell for entry in specification.recipes for cell in _cells_of(specification, entry)]
    order = {name: place for place, name in enumerate((*EVALUATIONS, PREDICTIONS))}
    cells.sort(key=lambda cell: (order[cell.evaluation], cell.repeat))
    before: Counter[tuple[Any, ...]] = Counter()
    place = []
    for cell in cells:
        training = cell.recipe, cell.train, cell.repeat, cell.seed, cell.train_subjects
        place.append(before[training] if cell.train else 0)
        before[training] += 1
    return [cell for _, cell in sorted(zip(place, cells, strict=True), key=lambda each: each[0])]


def _cells_of(specification: Specification, entry: RecipeEntry) -> Iterator[Cell]:
    accesses: tuple[NeutralAccess, ...] = specification.neutral if entry.paired else ("none",)
    prints = {name: dataset.fingerprint for name, dataset in specification.opened.items()}
    shared = {"allow-seen-subjects": "true"} if specification.allow_seen else {}
    settings = entry.to_dict()
    if entry.train is None:
        for name in entry.predictions or specification.datasets:
            inputs = {**shared, f"dataset {name}": prints[name], **entry.inputs(name)}
            if entry.predictions:
                settings = {"predictions": entry.predictions[name]}
            for access in accesses:
                yield Cell(entry.name, PREDICTIONS, (), name, access, settings=settings, inputs=inputs)
        return
    weights = entry.inputs("")
    for evaluation, train, test, repeat, subjects in _tests(specification):
        inputs = {**shared, **{f"dataset {name}": prints[name] for name in sorted({*train, test})}, **weights}
        if specification.folds is not None:
            inputs["folds"] = str(specification.folds)
        for seed in specification.seeds:
            for access in accesses:
                yield Cell(entry.name, evaluation, train, test, access, repeat, seed, subjects, settings, inputs)


def _tests(specification: Specification) -> Iterator[tuple[Evaluations, tuple[str, ...], str, int, int | None]]:
    """Each evaluation with its datasets to train and to test on, its draw and its number of training subjects."""
    names = list(specification.datasets)
    for evaluation, settings in specification.evaluations.items():
        if evaluation == "cross-corpus":
            yield from ((evaluation, (train,), test, 0, None) for train, test in permutations(names, 2))
            continue
        if evaluation == "leave-one-corpus-out":
            for test in names:
                yield evaluation, tuple(name for name in names if name != test), test, 0, None
            continue
        for name in names:
            # Of a corpus that does not say who is shown there is one division, its owners'.
            draws = settings.repeats if specification.opened[name].protocol.folds else 1
            for repeat in range(draws):
                for subjects in settings.subjects or (None,):
                    yield evaluation, (name,), name, repeat, subjects


def initial(folder: Path) -> str:
    """The text of a first specification, with the datasets in ``folder``/data and the runs in ``folder``/runs.

    Raises :class:`~fer_cli.errors.DatasetError` if there is no dataset.
    """
    names: dict[str, str] = {}
    for path in sorted(card.parent for card in (folder / "data").glob(f"*/{CARD}")):
        names[_free_name(path.name, names)] = json.dumps(f"data/{as_text(path.name)}")
    if not names:
        raise DatasetError(
            f"There is no prepared dataset in {folder / 'data'}.",
            hint="Make one with fer prepare (for example: fer prepare synthetic), then type this line again.",
        )
    recipes = [_recipe("difference", 'train = "difference"'), _recipe("single", *_SINGLE)]
    recipes += [_recipe(NAME, f'run = "{NAME}"')] if packaged_model() is not None else []
    mine: dict[str, str] = {}
    for path in runs_in(folder / "runs")[:_MOST_RUNS]:
        name = _free_name(path.name, {*mine, NAME})
        mine[name] = _recipe(name, f"run = {json.dumps(f'runs/{as_text(path.name)}')}", off=True)
    several = [f"[evaluations.{name}]" for name, count in _DATASETS.items() if len(names) >= count]
    return _INITIAL.format(
        metrics=", ".join(metric.name for metric in compared_metrics()),
        datasets="\n".join(f"{name} = {path}" for name, path in names.items()),
        recipes="\n\n".join(recipes),
        runs="\n\n".join(mine.values()) or _recipe("mine", 'run = "runs/FOLDER"', off=True),
        example=next(iter(names)),
        several="\n".join(several) or "# [evaluations.cross-corpus]   # with two datasets or more",
    )


_MOST_RUNS = 5
_SINGLE = ('train = "difference"', 'features = "target"  # the same without the neutral face')


def _free_name(folder: str, taken: Collection[str]) -> str:
    """A name for a ``folder`` that is a key of TOML and not ``taken``."""
    name = base = re.sub(r"[^A-Za-z0-9_-]+", "-", folder).strip("-")[:50] or "unnamed"
    number = 1
    while name in taken:
        number += 1
        name = f"{base}-{number}"
    return name


def _recipe(name: str, *lines: str, off: bool = False) -> str:
    return "\n".join(f"{'# ' if off else ''}{line}" for line in ("[[recipes]]", f'name = "{name}"', *lines))


_INITIAL = """\
# A benchmark of facial expression recognition: fer benchmark FILE.toml computes it, --plan shows what that would be.
# Paths are from the folder of this file. What is computed once is not computed again, also after changes here.

title = "Benchmark"
# What decides: {metrics}.
metric = "unweighted_average_recall"
# One training a seed. Of a single one no difference counts as resolved: another seed may turn it around.
seeds = [0, 1]
# What recipes that compare a face with a neutral one are given: "given" (the labelled neutral picture), "found" (looked
# for among the person's other pictures, without labels), "mean" (the average face of the training).
neutral = ["given", "mean"]

[datasets]  # prepared datasets, which fer prepare makes
{datasets}

# Recipes. HOG with a linear SVM, fer train baseline, is always one of them.
# A recipe that is trained names a command of fer train, and any of its settings: fer train difference --help.
{recipes}

# A run is tested as it is, on all of each dataset; where it was trained on these people, that is refused.
{runs}

# Tables of predictions by other programs (py-feat, OpenFace, LibreFace, DeepFace, EmotiEffLib), one for each dataset.
# [[recipes]]
# name = "py-feat"
# predictions = {{ {example} = "tables/pyfeat.csv" }}

# Subject-independent cross-validation. repeats > 1 draws new folds: how far these alone move a number is its noise.
[evaluations.within]
# folds = 5
repeats = 2

# Trained on one dataset and tested on all of another; trained on all others.
{several}

# By the number of people to train on.
# [evaluations.learning-curve]
# subjects = [5, 10, 20, 40]
# repeats = 2
"""
