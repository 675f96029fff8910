"""What comes from outside reaches a terminal as text and as nothing else."""

import io
import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

from fer_cli.cli import console
from fer_cli.cli.console import PlainConsole, plain
from fer_cli.errors import FerError
from tests.prediction.made import made_pictures

#: Clears the screen, sets a title, overwrites the line, turns the rest around, and is no UTF-8.
HOSTILE = "a\x1b[2J\x1b]0;t\x07b\rc\x9b31md\u202ee\u2028f" + os.fsdecode(b"\xe9")
SHOWN = r"a\x1b[2J\x1b]0;t\x07b\rc\x9b31md\u202ee\u2028f\xe9"


def shown(*things, **options) -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    target = PlainConsole(file=stream, width=200, **options)
    for thing in things:
        target.print(thing)
    stream.flush()
    return stream.buffer.getvalue().decode()


def test_what_could_steer_a_terminal_is_written_out():
    assert plain(HOSTILE) == SHOWN
    assert plain("Zoë\u00a0李\u3000\u0646\u200c \U0001f600") == "Zoë\u00a0李\u3000\u0646\u200c \U0001f600"


def test_strings_and_cells_are_shown_as_they_are_and_in_line():
    table = Table(HOSTILE, "n", title=HOSTILE, box=None, padding=(0, 1))
    table.add_row("[/]", "1")
    table.add_row("[red]x[/red] :smile:", "2")
    found = shown(HOSTILE, table)
    assert found.count(SHOWN) == 3
    assert "[/]" in found
    assert "[red]x[/red] :smile:" in found
    assert len({line.rstrip().rindex(last) for line, last in zip(found.splitlines()[2:], "n12", strict=True)}) == 1


def test_styles_of_our_own_stay(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    found = shown(Text(f"bold {HOSTILE}", "bold"), force_terminal=True, color_system="standard")
    assert found.startswith("\x1b[1mbold a")
    assert found.count("\x1b") == 2


@settings(max_examples=50)
@given(st.text())
def test_no_text_gets_through_as_anything_but_text(text):
    for thing in (text, Text(text)):
        found = shown(thing)
        assert not {letter for letter in found if letter != "\n" and plain(letter) != letter}
        assert "\t" not in found


def test_words_on_standard_error_are_plain(capsys):
    console.say(HOSTILE)
    console.warn(HOSTILE)
    error = FerError(HOSTILE, hint=HOSTILE)
    console.print_error(error)
    said = capsys.readouterr().err
    assert "\x1b" not in said
    assert "\x9b" not in said
    assert "\u202e" not in said
    assert said.count("\\u202e") == 4


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux")
def test_messages_break_between_words_on_a_terminal_and_nowhere_else(monkeypatch):
    path = "runs/" + "long-name/" * 12
    message = f"results   {path}: {'metrics and predictions ' * 4}".rstrip()
    for terminal in (True, False):
        written = io.StringIO()
        shown = console.PlainConsole(file=written, force_terminal=terminal, color_system=None, width=80)
        monkeypatch.setattr(console, "err", shown)
        for tell in (console.say, console.warn):
            written.seek(0)
            written.truncate()
            tell(message)
            lines = written.getvalue().splitlines()
            assert " ".join(" ".join(lines).split()).removeprefix("note ") == " ".join(message.split())
            assert any(path in line for line in lines)
            assert (len(lines) > 1) == terminal
            assert all(len(line.rstrip()) <= 80 or path in line for line in lines) or not terminal
        written.seek(0)
        written.truncate()
        console.say(message, whole=True)
        assert written.getvalue() == f"{message}\n"


def test_data_for_a_program_keeps_a_names_bytes():
    code = r"import os; from fer_cli.cli.console import give; give('name', os.fsdecode(b'caf\xe9'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"name\tcaf\xe9\n"


def test_a_reader_that_has_read_enough_ends_nothing():
    read, write = os.pipe()
    os.close(read)
    code = (
        "import sys; from fer_cli.cli.console import give, out; out.print('a' * 100_000); out.print('b'); give('c');"
        "print('d' * 100_000); print('done', file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "done\n")


@pytest.mark.parametrize(
    "words", [("weights", "list"), ("train", "--help"), ("predict", "faces", "--detector", "none")]
)
def test_a_command_whose_reader_has_gone_exits_with_0(words, tmp_path):
    made_pictures(tmp_path / "faces", 3)
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "fer_cli", *words]
    done = subprocess.run(command, cwd=tmp_path, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr


def test_a_bar_has_its_title_and_goes_with_its_last_step(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(console, "err", PlainConsole(file=stream, width=80, force_terminal=True, _environ={}))
    monkeypatch.setattr(console.Bars, "PATIENCE", -1)
    with console.Bars() as bars:
        bars("process 1", 3, 10, title=f"difference, {'very ' * 20}long")
        bars._progress.refresh()
        first = stream.getvalue()
        bars("process 1", 0, 0)
        bars._progress.refresh()
        bars("process 1", 0, None, title="single")
        bars._progress.refresh()
    assert "difference, very very very very…" in first
    assert "3/10" in first
    after = stream.getvalue()[len(first) :]
    assert "single" in after
    assert "0/0" not in after
