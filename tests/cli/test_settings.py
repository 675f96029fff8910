import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
from annotated_doc import Doc
from annotated_types import Ge, Interval
from typer.testing import CliRunner

from fer_cli.cli.help import Commands
from fer_cli.cli.settings import with_settings
from fer_cli.errors import UsageError
from fer_cli.options import Panel


@dataclass
class Base:
    """What all have."""

    size: Annotated[int, Doc("How large.")] = 3
    kind: Annotated[Literal["a", "b"], Doc("Which.")] = "a"


@dataclass
class Own(Base):
    """What one has."""

    where: Annotated[Path | None, Doc("A place.")] = None
    names: Annotated[tuple[str, ...], Doc("Some names.")] = ()
    loud_voice: Annotated[bool, Doc("Shout."), Panel("Output")] = False
    polite: Annotated[bool, Doc("Say please."), Panel("Output")] = True
    times: Annotated[int, Ge(1), Doc("How often."), Panel("Model")] = 2
    share: Annotated[float | None, Interval(gt=0, le=1), Doc("How much of it."), Panel("Model")] = 0.25


@pytest.fixture
def run():
    app = Commands()
    seen = []

    @app.command()
    @with_settings(own=Own)
    def command(own, target: Path = Path("here")):
        """Do it."""
        seen.append((own, target))

    def invoke(*words: str, columns: int = 120):
        seen.clear()
        result = CliRunner().invoke(app, list(words), env={"COLUMNS": str(columns)})
        return result, seen[0] if seen else None

    return invoke


def test_fields_become_options_with_their_types_and_defaults(run):
    assert run()[1] == (Own(), Path("here"))
    _, (own, target) = run("--size", "5", "--kind", "b", "--where", "x", "--names", "p", "--names", "q", "--loud-voice")
    assert own == Own(size=5, kind="b", where=Path("x"), names=("p", "q"), loud_voice=True)
    assert target == Path("here")


def test_docs_become_help(run):
    output = run("--help")[0].output
    for words in ("How large.", "Which.", "A place.", "Some names.", "Shout.", "--loud-voice"):
        assert words in output
    assert output.index("--where") < output.index("--size")


def test_a_value_of_another_type_is_a_typing_error(run):
    for words in (("--size", "x"), ("--kind", "c"), ("--no-loud-voice",)):
        assert run(*words)[0].exit_code == 2


def panels(output: str) -> dict[str, str]:
    """What stands in each panel of the help, by its title."""
    parts = re.split(r"^╭─ (.+?) ─+╮$", output, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


@pytest.mark.parametrize("columns", [80, 120])
def test_options_stand_in_their_panels(run, columns):
    output = run("--help", columns=columns)[0].output
    shown = panels(output)
    # The model before what comes out, and options of no panel last.
    assert list(shown) == ["Model", "Output", "Options"]
    assert "--times N" in shown["Model"]
    assert "--share 0..1" in shown["Model"]
    assert "--loud-voice" in shown["Output"]
    assert "--[no-]polite" in shown["Output"]
    assert {"--where PATH", "--size N", "--target PATH"} <= set(re.findall(r"--\w+ [A-Z]+", shown["Options"]))
    assert max(map(len, output.splitlines())) == columns


def test_help_says_choices_and_defaults_and_no_types(run):
    output = run("--help")[0].output
    line = {words[1]: " ".join(words[2:-1]) for words in map(str.split, output.splitlines()) if len(words) > 3}
    assert line["--kind"] == "NAME Which. [a, b; default: a]"
    assert line["--share"] == "0..1 How much of it. [default: 0.25]"
    assert line["--where"] == "PATH A place."
    assert line["--loud-voice"] == "Shout."
    assert "<" not in output


@pytest.mark.parametrize("words", [("--times", "0"), ("--share", "1.5"), ("--share", "0"), ("--share", "nan")])
def test_a_value_out_of_bounds_is_named_and_not_used(run, words):
    result, called = run(*words)
    assert called is None
    assert isinstance(result.exception, UsageError)
    assert " ".join(words) in result.exception.message


def test_a_value_on_its_bound_is_used(run):
    assert run("--times", "1", "--share", "1")[1][0] == Own(times=1, share=1.0)


def test_lines_to_type_stand_together_and_what_is_said_of_them_apart():
    app = Commands()

    @app.command()
    def command():
        """Do what the name says, over
        and over.

        fer do it   # once

        fer do it --often
        """

    output = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "80"}).output
    lines = [line.strip() for line in output.splitlines()]
    first = lines.index("Do what the name says, over and over.")
    assert lines[first : first + 4] == [
        "Do what the name says, over and over.",
        "",
        "fer do it   # once",
        "fer do it --often",
    ]


def test_a_field_without_a_doc_is_a_fault():
    @dataclass
    class Bare:
        """No docs."""

        size: int = 3

    with pytest.raises(TypeError, match="no Doc"):

        @with_settings(bare=Bare)
        def command(bare):
            """Do it."""
