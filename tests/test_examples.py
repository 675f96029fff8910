"""The examples run as they are, and the lines in the documentation and the help are ones that the program has."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from fer_cli.cli.app import app
from fer_cli.training.fit import fit
from fer_cli.training.recipes.difference import DifferenceRecipe
from tests.corpora.ckplus_tree import CODES, sequence
from tests.made import made_dataset

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def run(*words: str | Path, cwd: Path) -> str:
    # The console script stands beside the interpreter, on the path or not.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        list(map(str, words)), cwd=cwd, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def leaves(command=None, path=()):
    """Every command of the program by its words, groups too."""
    command = command or typer.main.get_command(app)
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from leaves(inner, (*path, name))


COMMANDS = dict(leaves())


def typed(text: str) -> list[str]:
    """The lines for ``fer`` in a page: of its shell blocks, and between backticks."""
    blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return [match.group(1) for line in lines if (match := re.search(r"(?:^|\| |-m )fer(?:_cli)? ([a-z].*)", line))]


def check(line: str) -> None:
    """Fails unless each word of the line that is a command or an option is one of the program's."""
    words = shlex.split(line, comments=True)
    path = tuple(words[:1])
    assert path in COMMANDS, line
    if (inner := tuple(words[:2])) in COMMANDS:
        path = inner
    elif getattr(COMMANDS[path], "commands", None):
        # A group is named by itself, or with a word such as CORPUS for any of its commands.
        assert not words[1:] or words[1].isupper() or words[1].startswith("-") or words[1] == "…", line
        return
    options = {name for param in COMMANDS[path].params for name in (*param.opts, *param.secondary_opts)}
    for word in words[len(path) :]:
        if word == "|":
            break
        assert not word.startswith("--") or word == "--" or word in {*options, "--help"}, f"{line}: {word}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_lines_of_a_page_are_ones_that_the_program_has(page):
    for line in typed(page.read_text(encoding="utf-8")):
        check(line)


def test_there_are_lines_in_the_pages():
    assert sum(len(typed(page.read_text(encoding="utf-8"))) for page in PAGES) > 60


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: " ".join(path) or "fer")
def test_the_lines_of_the_help_are_ones_that_the_program_has(path):
    for line in re.findall(r"(?:^|\| )fer ([a-z].*)", COMMANDS[path].help or "", flags=re.MULTILINE):
        if not line.endswith("."):
            check(line)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_links_to_is_there(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        # The reference is made when the site is built.
        assert target.startswith(("https://", "reference/")) or (page.parent / target).exists(), target


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_every_page_is_in_the_index():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert {page.name for page in PAGES} - {"README.md", "index.md"} <= set(re.findall(r"\]\((\w+\.md)\)", index))


def test_every_example_is_tested():
    assert {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".sh", ".toml")} == {
        *("benchmark.toml", "contact_sheet.py", "predict.py", "whole_path.sh"),
    }


def test_the_benchmark_is_planned(tmp_path, monkeypatch):
    for name in ("plain", "confounded"):
        made_dataset(tmp_path / "data" / name, corpus=name)
    text = (EXAMPLES / "benchmark.toml").read_text(encoding="utf-8")
    (tmp_path / "benchmark.toml").write_text(text, encoding="utf-8")
    for line in re.findall(r"^#   fer (.*)", text, flags=re.MULTILINE):
        check(line)
    monkeypatch.chdir(tmp_path)
    shown = CliRunner().invoke(app, ["benchmark", "benchmark.toml", "--plan"])
    assert shown.exit_code == 0, shown.output
    # Two datasets, two seeds; the baseline, one face alone, and a pair with either neutral face.
    assert len(shown.stdout.splitlines()) == 2 * 2 * 2 * (1 + 1 + 2)


@pytest.mark.skipif(os.name != "posix", reason="a shell script")
def test_the_whole_path(tmp_path):
    shown = run("bash", EXAMPLES / "whole_path.sh", cwd=tmp_path)
    assert "accuracy" in shown
    assert len((tmp_path / "predictions.csv").read_text().splitlines()) == 1 + 27
    assert (tmp_path / "runs/difference-small-fold0/evaluation/confusion.png").is_file()


def test_predicting_from_python(made, tmp_path):
    recipe = DifferenceRecipe(
        features="target", encoder="scratch", backbone="mobilenet_v3_small", epochs=1, batch_size=9
    )
    trained = fit(recipe, made, tmp_path / "run", device="cpu")
    shown = run(sys.executable, EXAMPLES / "predict.py", trained.path, made.path / "images/P01", cwd=tmp_path)
    assert len(shown.splitlines()) == 4
    assert "anger.png face 0: " in shown


def test_the_contact_sheet(tmp_path):
    for number, label in enumerate(CODES, start=1):
        for frame in sequence(tmp_path / "corpus", "S001", f"{number:03d}", label=label):
            Image.new("RGB", (64, 49), "grey").save(frame)
    run(sys.executable, EXAMPLES / "contact_sheet.py", tmp_path / "corpus", tmp_path / "sheet.png", cwd=tmp_path)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 8 * 100
