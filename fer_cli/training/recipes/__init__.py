"""Recipes of the models, one file each, so that a new model's recipe is one new file here."""

from importlib import import_module
from inspect import isabstract, isclass
from pkgutil import iter_modules

from fer_cli.training.recipes.base import Recipe


def _recipes() -> tuple[type[Recipe], ...]:
    """The recipes of this package that are trained alone, by name."""
    found = {
        kind.name: kind
        for module in iter_modules(__path__, f"{__name__}.")
        for kind in vars(import_module(module.name)).values()
        if isclass(kind) and issubclass(kind, Recipe) and not isabstract(kind) and kind.trained_alone
    }
    return tuple(found[name] for name in sorted(found))


#: The recipes that ``fer train`` has commands for.
RECIPES = _recipes()
