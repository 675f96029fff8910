"""Recipes of a benchmark: trained by ``fer train``, a run that is there, or another program's tables of predictions."""

import dataclasses
import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from fer_cli.documents import check_document
from fer_cli.errors import FerError, ModelError, RunError, UsageError, nearest
from fer_cli.files import open_regular
from fer_cli.pretrained import CHECKSUMS, is_packaged, require_packaged
from fer_cli.runs.run import WEIGHTS, Run
from fer_cli.training.recipes import RECIPES
from fer_cli.training.recipes.base import Recipe

#: The recipe that is always a row, by the name of its command.
BASELINE = "baseline"
_RECIPES = {kind.name: kind for kind in RECIPES}
#: The settings of a recipe that are not its own in a benchmark, and what decides them.
_DECIDED = {
    "fold": "The evaluation decides it.",
    "seed": "Write seeds = [0, 1] for the benchmark.",
    "extra_data": "The evaluation leave-one-corpus-out trains on several datasets.",
    "ablation": "Write a recipe each with features = target, difference and both.",
}
#: The settings that may be a folder or a file.
_PATHS = ("encoder", "identity", "backbone")
#: Names of recipes and datasets, which name folders too.
_NAME = re.compile(r"\w[\w.-]{0,59}")
_KINDS = {"train": str, "run": str, "predictions": dict[str, str]}


@dataclass(frozen=True)
class RecipeEntry:
    """One of the recipes that a benchmark compares, by its ``name``.

    One that is trained names the command of ``fer train`` that does it (``train``), and ``settings``: values of that
    recipe's dataclass fields, and perhaps ``recipe``, the name of published ones. Else it is a ``run``, a folder or a
    packaged model's name, or another program's ``predictions``, a file for each dataset. Paths are as they were
    written, from ``folder``, where the specification is.
    """

    name: str
    folder: Path
    train: str | None = None
    run: str | None = None
    predictions: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """What the recipe stands for, as :attr:`~fer_cli.benchmark.cells.Cell.settings` has it."""
        if self.train is not None:
            return {"train": self.train, **self.settings}
        return {"run": self.run} if self.run is not None else {"predictions": dict(self.predictions)}

    def recipe(self, **changes: Any) -> Recipe:
        """The recipe that is trained, with ``changes``; raises :class:`~fer_cli.errors.UsageError` as it does."""
        kind = _RECIPES[self.train or ""]
        settings = dict(self.settings)
        if (name := settings.pop("recipe", None)) is not None:
            settings = {**{each.name: each.default for each in dataclasses.fields(kind.published[name])}, **settings}
        for name in set(_PATHS) & settings.keys():
            if isinstance(settings[name], str) and (self.folder / settings[name]).exists():
                settings[name] = str(self.folder / settings[name])
        # Hundreds of logs would be written that nobody opens.
        quiet = {"logger": ("none",)} if "logger" in _fields(kind) else {}
        return kind(**{**quiet, **settings, **changes})

    def open_run(self) -> Run:
        """The run that is tested; raises :class:`~fer_cli.errors.RunError` if it is none."""
        path = self.folder / (self.run or "")
        return Run.open(require_packaged(self.run) if is_packaged(self.run) and not path.is_dir() else path)

    @property
    def paired(self) -> bool:
        """Whether a face is compared with a neutral one."""
        if self.train is not None:
            return self.recipe().paired
        if self.run is None:
            return False
        card = self.open_run().card
        kind = _RECIPES.get(card["model"])
        if kind is None:
            return False
        stored = {name: value for name, value in card["recipe"].items() if name in _fields(kind)}
        return kind(**{name: as_field(value) for name, value in stored.items()}).paired

    def inputs(self, dataset: str) -> dict[str, str]:
        """Digests of the weights and files, by name, that its numbers on the ``dataset`` depend on."""
        if self.run is not None:
            return {"run": _digest_of_weights(self.open_run().path)}
        if self.train is None:
            return {"predictions": _digest(self.folder / self.predictions[dataset])}
        try:
            resolved = self.recipe().resolved()
        except ModelError:
            # Its cells fail with that reason, and are others once the weights are here.
            return {"weights": "missing"}
        found = {name: str(getattr(resolved, name)) for name in ("encoder", "identity") if hasattr(resolved, name)}
        # As written, for where it lies does not matter.
        found = {name: str(self.settings[name]) if Path(value).exists() else value for name, value in found.items()}
        digests = [_digest_of_weights(source) for source in self.ancestors()]
        return {**found, **({"weights": " ".join(digests)} if digests else {})}

    def ancestors(self) -> list[Path]:
        """The folders and files of weights that its training starts from."""
        return [source for source in dict.fromkeys(_ancestors(self.recipe().resolved())) if source.exists()]

    def check(self, datasets: Collection[str]) -> None:
        """Raise a :class:`~fer_cli.errors.FerError` where what is named is not there, or its settings make no sense."""
        try:
            if self.train is not None:
                self.recipe()
            elif self.run is not None:
                self.open_run()
            for name, file in self.predictions.items():
                require_known("dataset", [name], datasets)
                if not (self.folder / file).is_file():
                    raise UsageError(f"there is no file {self.folder / file}.")
        except FerError as error:
            raise type(error)(f"Recipe {self.name}: {error.message}", hint=error.hint) from error


def read_recipe(values: Mapping[str, Any], folder: Path) -> RecipeEntry:
    """The recipe that ``values`` of a specification in ``folder`` state.

    Raises :class:`~fer_cli.errors.UsageError` for a name that there is not, and a value of another type.
    """
    values = with_underscores(values)
    name = values.pop("name", None) or values.get("train") or values.get("run")
    if not isinstance(name, str):
        raise UsageError("A recipe has no name.", hint='Write, for example, name = "difference".')
    require_name("recipe", name)
    kinds = [key for key in _KINDS if key in values]
    if len(kinds) != 1:
        raise UsageError(
            f"Recipe {name}: it says {' and '.join(kinds) or 'nothing'} of what it is.",
            hint='Write one of train = "difference", run = "faces", predictions = { DATASET = "FILE" }.',
        )
    source = values.pop(kinds[0])
    require_types(f"recipe {name}: ", {kinds[0]: source}, _KINDS)
    if kinds[0] != "train":
        require_known(f"setting of a {kinds[0]}, as in the recipe {name},", values, [])
        return RecipeEntry(name, folder, **{kinds[0]: source})
    require_known("recipe to train", [source], _RECIPES)
    kind = _RECIPES[source]
    for key in values.keys() & _DECIDED.keys():
        raise UsageError(f"Recipe {name}: {key} is none of its own settings.", hint=_DECIDED[key])
    types = {key: hint for key, hint in get_type_hints(kind, include_extras=True).items() if key in _fields(kind)}
    types = {**types, "recipe": str}
    require_known(f"setting of {source}", values, types.keys() - _DECIDED.keys())
    require_types(f"recipe {name}: ", values, types)
    require_known(f"published settings of {source}", filter(None, [values.get("recipe")]), kind.published)
    return RecipeEntry(name, folder, source, settings={key: as_field(value) for key, value in values.items()})


def with_baseline(recipes: Iterable[RecipeEntry], folder: Path) -> tuple[RecipeEntry, ...]:
    """The ``recipes``, after the baseline of single pictures where none of them trains one."""
    recipes = tuple(recipes)
    if BASELINE not in _RECIPES or any(each.train == BASELINE for each in recipes):
        return recipes
    name = BASELINE if all(each.name != BASELINE for each in recipes) else f"{BASELINE}-added"
    return (RecipeEntry(name, folder, BASELINE, settings={"features": "target"}), *recipes)


def as_field(value: Any) -> Any:
    """A value of a document as a dataclass holds it."""
    return tuple(value) if isinstance(value, list) else value


def with_underscores(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values by the names of fields: ``tune_encoder`` for ``tune-encoder``."""
    return {name.replace("-", "_"): value for name, value in values.items()}


def require_known(what: str, names: Iterable[str], choices: Collection[str]) -> None:
    """Raise :class:`~fer_cli.errors.UsageError`, with the nearest, where one of ``names`` is none of ``choices``."""
    for name in names:
        if name not in choices:
            raise UsageError(f"There is no {what} '{name[:80]}'.", hint=nearest(name, choices))


def require_types(where: str, values: Mapping[str, Any], types: Mapping[str, Any]) -> None:
    """Raise :class:`~fer_cli.errors.UsageError`, naming it, for a value of another type than that of its name."""
    for name, value in values.items():
        try:
            check_document(value, types[name])
        except ValueError as cause:
            raise UsageError(f"{where}{name}: {cause}.") from cause


def require_name(what: str, name: str) -> None:
    """Raise :class:`~fer_cli.errors.UsageError` for a name of which no folder can be named."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"'{name[:80]}' is no name for a {what}.", hint="Use letters, digits, '-', '_' and '.'.")


def _fields(kind: type[Recipe]) -> set[str]:
    return {each.name for each in dataclasses.fields(kind)}


def _ancestors(recipe: Recipe) -> list[Path]:
    """The folders and files of weights that the recipe, or one that it has trained first, starts from."""
    found = []
    for each in recipe.prerequisites().values():
        found += _ancestors(each)
    if not recipe.prerequisites():
        found += recipe.ancestors({})
    return found


def _digest_of_weights(source: Path) -> str:
    """The digest of a file of weights, of a run's, or of all runs of a cross-validation."""
    if source.is_file():
        return _digest(source)
    files = [source / CHECKSUMS] if (source / CHECKSUMS).is_file() else sorted(source.glob(f"**/{WEIGHTS}"))
    if not files:
        raise RunError(f"{source} has no weights ({WEIGHTS}).")
    return hashlib.sha256(" ".join(map(_digest, files)).encode()).hexdigest()


def _digest(path: Path) -> str:
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}.") from error
