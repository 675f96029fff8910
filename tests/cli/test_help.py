"""Help is quick: nothing heavy is imported for it, and every command teaches by example."""

import json
import re
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from fer_cli.cli.app import app

HEAVY = ("torch", "timm", "torchvision", "transformers", "sklearn", "matplotlib", "cv2", "pandas", "PIL")


def commands(group=None, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every command of the program, as the words that a person types."""
    group = group or typer.main.get_command(app)
    found = [path]
    for name, command in getattr(group, "commands", {}).items():
        found += commands(command, (*path, name))
    return found


def test_the_lines_that_must_work_are_there():
    assert {
        ("prepare",),
        ("prepare", "ckplus"),
        ("train", "difference"),
        ("evaluate",),
        ("predict",),
        ("demo",),
    } <= set(commands())


@pytest.mark.parametrize("words", commands(), ids=lambda words: " ".join(words) or "fer")
def test_every_command_has_help_with_a_description_of_every_option(words):
    result = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert result.exit_code == 0
    command = typer.main.get_command(app)
    for word in words:
        command = command.commands[word]
    for parameter in command.params:
        if parameter.name not in ("help", "install_completion", "show_completion"):
            assert parameter.help, f"{words}: {parameter.name} has no help"


@pytest.mark.parametrize(
    ("words", "most"),
    [(("train", "difference"), 95), (("train", "vit-se"), 100), (("train", "classifier"), 95), (("predict",), 90)],
)
def test_help_is_short_on_a_terminal_of_80_columns(words, most):
    lines = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "80", "TERM": "dumb"}).output.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= most


@pytest.mark.parametrize("words", commands(), ids=lambda words: " ".join(words) or "fer")
def test_a_shell_takes_the_lines_to_type_as_they_are_shown(words):
    command = typer.main.get_command(app)
    for word in words:
        command = command.commands[word]
    paragraphs = map(str.strip, (command.help or "").split("\n\n"))
    lines = [line for line in paragraphs if line.startswith("fer ") and "\n" not in line and line[-1] not in ".]"]
    shown = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "80", "TERM": "dumb"}).output
    shown = re.sub(r" \\ *\n +", " ", shown)
    assert all(f" {line}" in shown for line in lines)


def test_arguments_are_named_as_they_are_described():
    for words, usage in (("evaluate", "[RUN]"), ("compare", "RUN..."), ("predict", "[SOURCE]...")):
        shown = CliRunner().invoke(app, [words, "--help"], env={"COLUMNS": "80", "TERM": "dumb"}).output
        assert shown.splitlines()[0].endswith(f"[OPTIONS] {usage}")
        assert f"│ {usage.replace('[', '').replace(']', '')} " in shown


def test_without_a_model_the_lines_to_type_come_first():
    lines = CliRunner().invoke(app, ["train"], env={"COLUMNS": "80", "TERM": "dumb"}).output.splitlines()
    typed = [line.strip() for line in lines if line.strip().startswith("fer train ")]
    assert len(typed) == 3
    assert lines.index(f" {typed[0]}".ljust(80)) < next(n for n, line in enumerate(lines) if "Commands" in line)


def test_help_imports_neither_torch_nor_transformers():
    program = (
        "import json, sys\n"
        "from typer.testing import CliRunner\n"
        "from fer_cli.cli.app import app\n"
        f"for words in {[list(words) for words in commands()]!r}:\n"
        "    result = CliRunner().invoke(app, [*words, '--help'])\n"
        "    assert result.exit_code == 0, (words, result.output)\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not set(HEAVY) & set(json.loads(done.stdout))


def test_the_version_is_printed():
    import fer_cli

    assert CliRunner().invoke(app, ["--version"]).output.strip() == f"fer {fer_cli.__version__}"
