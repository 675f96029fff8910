from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
import typer
from annotated_doc import Doc
from typer.testing import CliRunner

from fer_cli.cli.settings import with_settings


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
    loud_voice: Annotated[bool, Doc("Shout.")] = False


@pytest.fixture
def run():
    app = typer.Typer()
    seen = []

    @app.command()
    @with_settings(own=Own)
    def command(own, target: Path = Path("here")):
        """Do it."""
        seen.append((own, target))

    def invoke(*words: str):
        seen.clear()
        result = CliRunner().invoke(app, list(words), env={"COLUMNS": "120"})
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


def test_a_field_without_a_doc_is_a_fault():
    @dataclass
    class Bare:
        """No docs."""

        size: int = 3

    with pytest.raises(TypeError, match="no Doc"):

        @with_settings(bare=Bare)
        def command(bare):
            """Do it."""
