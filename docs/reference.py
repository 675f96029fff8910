"""Pages of the reference, made from the code while the site is built: the command line, and the Python interface."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import griffe
import typer

sys.path.insert(0, str(Path(__file__).parent))
from catalogue import as_markdown, escaped

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


class Docstrings(griffe.Extension):
    """Docstrings as Markdown: roles of Sphinx as code, sessions as blocks."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite an object's docstring; griffe calls it."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are made here; mkdocs calls it."""
    from mkdocs.structure.files import File

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
    if hasattr(command, "list_commands"):
        for name in command.list_commands(typer.Context(command)):
            yield from _commands(command.commands[name], (*path, name))


def _help(text: str) -> str:
    """Paragraphs as they are, lines to type and drawn trees as blocks."""
    blocks = []
    for each in filter(str.strip, text.replace("\f", "").replace("\b", "").split("\n\n")):
        typed = re.match(r"\s*(?:fer|torchrun|find) (?!\w+ shows)", each)
        # What is dimmed in a terminal is a corpus's layout.
        is_block = typed or each.startswith("[dim]") or re.search("[├└│]", each)
        plain = re.sub(r"\[/?(?:bold|dim|cyan)?\]", "", each).replace("\\[", "[").strip("\n")
        blocks.append(f"```text\n{plain}\n```" if is_block else escaped(" ".join(plain.split())))
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
        yield f"| {names} | {escaped(getattr(param, 'help', None) or '')} | {escaped(shown)} |"


def interface() -> str:
    """A section for each public module, which mkdocstrings fills from its docstrings."""
    parts = ["# Python", "What a program may import. Other modules may change with any version."]
    for title, modules in PUBLIC.items():
        parts += [f"## {title}", *(f"::: {module}" for module in modules)]
    return "\n\n".join(parts) + "\n"
