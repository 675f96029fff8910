"""The documentation's own programs: links, documented lines, and the pages of corpora and models."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from fer_cli.corpora import corpora
from fer_cli.models.weights import ALL
from fer_cli.training.recipes import RECIPES
from tests.corpora.test_every_corpus import TREES

ROOT = Path(__file__).resolve().parents[1]


def loaded(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


LINKS, CATALOGUE = loaded(".ci/links.py"), loaded("docs/catalogue.py")


def faults(folder: Path, body: str, **others: str) -> list[str]:
    (folder / "index.html").write_text(f"<html><body>{body}</body></html>")
    for name, text in others.items():
        (folder / name.replace("_", ".")).write_text(text)
    return LINKS.check(folder)[0]


@pytest.mark.parametrize(
    "body",
    [
        '<a href="a.html">a</a>',
        '<a href="a.html#there">a</a>',
        '<a href="#top"></a><h1 id="top"></h1>',
        '<a href="/a.html">what the page of what is not found has</a>',
        '<a href=".">a</a>',
        '<a href="https://doi.org/10.1/2">a</a>',
        '<link rel="canonical" href="https://example.org/">',
        '<img src="data:image/png;base64,AAAA">',
    ],
)
def test_what_is_there_is_no_fault(tmp_path, body):
    assert faults(tmp_path, body, a_html='<p id="there"></p>') == []


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ('<a href="b.html">b</a>', "is not there"),
        ('<a href="a.html#gone">a</a>', "has no such anchor"),
        ('<a href="#gone">a</a>', "has no such anchor"),
        ('<img src="no.png">', "is not there"),
        ('<img srcset="no.png 2x">', "is not there"),
        ('<a href="../above.html">a</a>', "is not there"),
        ('<script src="https://cdn.example.org/x.js"></script>', "is loaded from another host"),
        ('<link rel="stylesheet" href="//fonts.example.org/x.css">', "is loaded from another host"),
        ("<style>@import 'https://fonts.example.org/x.css';</style>", "is loaded from another host"),
        ('<p style="background: url(https://example.org/x.png)"></p>', "is loaded from another host"),
        ('<a href="https://examp le.org">a</a>', "is no address of the web"),
        ('<a href="javascript:alert()">a</a>', "is no address of the web"),
    ],
)
def test_what_is_broken_or_asks_another_host_is_one(tmp_path, body, fault):
    [found] = faults(tmp_path, body, a_html='<p id="there"></p>')
    assert fault in found


def test_a_style_sheet_loads_nothing_from_elsewhere(tmp_path):
    [found] = faults(tmp_path, "", a_css="p { background: url('https://example.org/x.png') }")
    assert found.startswith("a.css")


@pytest.mark.parametrize("name", corpora())
def test_a_page_of_each_corpus(name):
    page, kind = CATALOGUE.pages()[f"corpora/{name}.md"], corpora()[name]
    assert all(line in page for line in (kind.layout, *kind.examples, kind.terms.source, "## Neutral faces"))


@pytest.mark.parametrize("name", TREES)
def test_it_says_whether_the_corpus_names_people(name, tmp_path):
    make, _ = TREES[name]
    make(tmp_path)
    corpus = corpora()[name]()
    records = corpus.read(corpus.locate(tmp_path)).records
    assert any(record.subject for record in records) == bool(CATALOGUE.kind_of(corpora()[name]))


def test_a_page_of_each_model_and_of_the_weights():
    pages = CATALOGUE.pages()
    for recipe in RECIPES:
        page = pages[f"models/{recipe.name}.md"]
        assert all(line in page for line in (*recipe.examples, *(f"--recipe {name}" for name in recipe.published)))
    assert all(each.licence in pages["models/weights.md"].replace("\\", "") for each in ALL.values())
