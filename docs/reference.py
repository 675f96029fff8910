"""Pages of the reference, made from the code while the site is built: the command line, and the Python interface."""

import re
from collections.abc import Iterator
from typing import Any

import griffe
import typer
from mkdocs.structure.files import File

#: What a program may import, by what it is for.
PUBLIC = {
    "Prediction": ("fer_cli.prediction.predictor", "fer_cli.prediction.results", "fer_cli.prediction.options"),
    "Evaluation": (
        "fer_cli.evaluation.evaluate",
        "fer_cli.evaluation.results",
        "fer_cli.evaluation.metrics",
        "fer_cli.evaluation.compare",
        "fer_cli.evaluation.significance",
    ),
    "Datasets and runs": ("fer_cli.dataset.prepared", "fer_cli.protocol", "fer_cli.labels", "fer_cli.runs.run"),
    "Training": (
        "fer_cli.training.cross_validation",
        "fer_cli.training.fit",
        "fer_cli.training.recipes.base",
        "fer_cli.training.recipes.difference",
        "fer_cli.training.recipes.disentangled",
        "fer_cli.training.recipes.vit_se",
        "fer_cli.training.recipes.classifier",
    ),
    "Errors and progress": ("fer_cli.errors", "fer_cli.progress", "fer_cli.options"),
}


#: Sphinx's roles, ``:class:`~fer_cli.errors.FerError```.
ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):`~?(?:[\w.]*\.)?(\w+)`")
#: Lines of a session at Python's prompt, and what they print.
SESSION = re.compile(r"^>>> .*(?:\n(?!\n).*)*", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Docstrings as Markdown: roles of Sphinx as code, sessions as blocks."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite an object's docstring; griffe calls it."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(text: str) -> str:
    """A docstring in Markdown.

    >>> as_markdown("Raises :class:`~fer_cli.errors.FerError`.")
    'Raises `FerError`.'
    """
    text = ROLE.sub(r"`\1`", text).replace("``", "`")
    return SESSION.sub(lambda found: f"```pycon\n{found[0].replace('  # doctest: +SKIP', '')}\n```", text)


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are made here; mkdocs calls it."""
    for name, text in (("reference/cli.md", command_line()), ("reference/api.md", interface())):
        files.append(File.generated(config, name, content=text))
    return files


def command_line() -> str:
    """Every command with its help, its arguments and its options."""
    from fer_cli.cli.app import app

    parts = ["# The command line", "Exit codes: 0 done, 1 failed, 2 typed wrongly, 3 done with some inputs skipped."]
    for path, command in _commands(typer.main.get_command(app), ("fer",)):
        parts += [f"## `{' '.join(path)}`", _help(command.help or "")]
        rows = list(_rows(command))
        if rows:
            parts.append("\n".join(["| option | meaning | default |", "| --- | --- | --- |", *rows]))
    return "\n\n".join(parts) + "\n"


def _commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, (*path, name))


def _help(text: str) -> str:
    """Paragraphs as they are, lines to type and drawn trees as blocks."""
    text = re.sub(r"\[/?(?:bold|dim|cyan)?\]", "", text).replace("\f", "").replace("\b", "")
    paragraphs = [each.strip("\n") for each in text.split("\n\n") if each.strip()]
    blocks = []
    for each in paragraphs:
        typed = re.match(r"\s*(?:fer|torchrun|find) (?!\w+ shows)", each)
        is_block = typed or re.search("[├└│]", each)
        blocks.append(f"```text\n{each}\n```" if is_block else _escaped(" ".join(each.split())))
    return "\n\n".join(blocks)


def _rows(command: Any) -> Iterator[str]:
    for param in command.params:
        if getattr(param, "hidden", False) or param.name in ("help", "install_completion", "show_completion"):
            continue
        names = ", ".join(f"`{name}`" for name in (*param.opts, *param.secondary_opts))
        default = param.default
        shown = (
            "" if default in (None, False, (), []) or callable(default) or "Sentinel" in repr(default) else str(default)
        )
        yield f"| {names} | {_escaped(getattr(param, 'help', None) or '')} | {_escaped(shown)} |"


def _escaped(text: str) -> str:
    for letter in "|<>*_":
        text = text.replace(letter, f"\\{letter}")
    return text


def interface() -> str:
    """A section for each public module, which mkdocstrings fills from its docstrings."""
    parts = ["# Python", "What a program may import. Other modules may change with any version."]
    for title, modules in PUBLIC.items():
        parts += [f"# {title}", *(f"::: {module}" for module in modules)]
    return "\n\n".join(parts) + "\n"
