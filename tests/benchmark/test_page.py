"""The page of a benchmark, read as HTML: what is on it, and that nothing from outside is more than text."""

import math
import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from fer_cli.benchmark import page as module
from fer_cli.benchmark.page import CONTENTS, PAGE, render, write_page
from fer_cli.benchmark.results import DEFAULT_METRIC, against, metric_columns, results_table
from fer_cli.errors import FerError
from tests.benchmark.made_results import made_cell, made_comparisons, made_ranks, made_result, made_results

HOSTILE = "<script>alert(1)</script>\"'&\x1b[31m\u202e{{ 7919 * 7919 }}"
SHOWN = "<script>alert(1)</script>\"'&\\x1b[31m\\u202e{{ 7919 * 7919 }}"
#: Elements that have no end tag.
VOID = {"meta"}


class Reader(HTMLParser):
    """The elements of a page by name, its ids, its texts; its tags must be closed in the order of their opening."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.elements, self.ids, self.texts, self.links, self._open = {}, [], [], [], []
        self.handlers = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.elements.setdefault(tag, []).append(attributes)
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.links += [attributes[name] for name in ("href", "src") if name in attributes]
        self.handlers += [name for name in attributes if name.startswith("on")]
        # A path or a line of a drawing ends itself.
        if tag not in VOID and not self.get_starttag_text().endswith("/>"):
            self._open.append(tag)

    def handle_endtag(self, tag):
        if not self.rawdata[: self.rawdata.find(">")].endswith("/"):
            assert self._open.pop() == tag

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    failed = made_result(made_cell("py-feat", "predictions", (), "wild"), reason="No picture of the table is there.")
    return results_table([*made_results(subjects=(5, 10), repeats=1), failed])


@pytest.fixture(scope="module")
def page(table) -> str:
    before = table.copy()
    before.loc[before.index[0], DEFAULT_METRIC] -= 0.1
    return render(
        "Made",
        table,
        made_comparisons(table),
        made_ranks(table),
        sentences=["The draw of the folds moves recall by 2.1 points."],
        against=against(table, before),
        command="fer benchmark made.toml --out runs/made",
    )


def test_every_part_is_there_and_in_the_contents(page, table):
    found = Reader(page)
    assert len(found.ids) == len(set(found.ids))
    assert {name for name, *_ in CONTENTS} <= set(found.ids)
    named = {value for of in found.elements.values() for each in of for value in [each.get("aria-labelledby")] if value}
    assert {name for each in named for name in each.split()} <= set(found.ids)
    assert {link.removeprefix("#") for link in found.links} <= set(found.ids)
    for words in (
        "The draw of the folds moves recall by 2.1 points.",
        "No picture of the table is there.",
        "fer benchmark made.toml --out runs/made",
        f"Compared with earlier results, {table['fold'].isna().sum() - 1} cells are the same, 1 changed.",
        "acted 3 classes (anger, disgust, happiness), stills, 5 folds by ID step 5",
        "fer train difference data/acted --seed 0",
    ):
        assert words in found.text, words


def test_nothing_leaves_the_page_and_nothing_in_it_runs(page):
    found = Reader(page)
    assert not found.elements.keys() & {"script", "img", "iframe", "form", "link", "object", "base"}
    assert not found.handlers
    assert all(link.startswith("#") for link in found.links)
    assert "url(" not in page
    assert "@import" not in page
    assert "default-src 'none'" in page


def test_every_cell_is_there_with_its_interval_and_neutral_access(page, table):
    whole = table[table["fold"].isna()]
    for row in whole.itertuples():
        assert row.cell in page
    found = Reader(page)
    done = whole[whole["status"] == "done"].iloc[0]
    value, low, high = (100 * done[f"{DEFAULT_METRIC}{end}"] for end in ("", "_low", "_high"))
    assert f"{value:.1f}, {low:.1f} to {high:.1f}" in found.text
    for name in ("none", "found", "given"):
        assert f"neutral {name}" in found.text
    assert "neutral mean" not in found.text


def test_what_a_name_holds_is_text_wherever_it_stands():
    cells = [
        made_cell(f"{name}{HOSTILE}", evaluation, (f"{train}{HOSTILE}",), f"{test}{HOSTILE}", train_subjects=count)
        for name in "rs"
        for evaluation, train, test, count in (
            ("within", "a", "a", None),
            ("cross-corpus", "a", "b", None),
            ("learning-curve", "a", "a", 5),
            ("learning-curve", "a", "a", 10),
        )
    ]
    results = [made_result(cell, 0.6) for cell in cells]
    results += [made_result(made_cell("t"), reason=HOSTILE)]
    table = results_table(results).assign(protocol=HOSTILE, command=HOSTILE, notes=HOSTILE, classes=HOSTILE)
    comparisons = made_comparisons(table).assign(notes=HOSTILE, method=HOSTILE)
    before = table.assign(**{DEFAULT_METRIC: 0.1})
    text = render(
        HOSTILE,
        table,
        comparisons,
        made_ranks(table),
        sentences=[HOSTILE],
        against=against(table, before),
        command=HOSTILE,
    )
    found = Reader(text)
    assert "script" not in found.elements
    assert not found.handlers
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "62710561" not in text
    assert found.text.count(SHOWN) > 40


def test_a_name_without_end_is_cut(table):
    text = render("x" * 100_000, table.assign(recipe=["y" * 100_000] * len(table)).head(3))
    assert len(text) < 150_000


@pytest.mark.parametrize("metric", ["accuracy", "kappa"])
def test_numbers_are_of_the_metric_that_decides(table, metric):
    text = Reader(render("Made", table, metric=metric)).text
    whole = table[table["fold"].isna() & (table["evaluation"] == "within")]
    value = whole.groupby(["recipe", "neutral", "test"])[metric].mean().iloc[0]
    assert (f"{value:.3f}" if metric == "kappa" else f"{100 * value:.1f}") in text
    comparisons = made_comparisons(table).assign(metric=metric)
    assert Reader(render("Made", table, comparisons)).text.count(metric) > 0


def test_comparisons_of_another_metric_are_not_shown(table):
    text = render("Made", table, made_comparisons(table), metric="accuracy")
    assert 'id="differences"' not in text


def test_a_benchmark_without_results_is_a_page_too():
    found = Reader(render("", results_table([])))
    assert {"summary", "repeat"} <= set(found.ids)
    assert not {"corpora", "results", "differences", "curves", "failed", "changes", "cells"} & set(found.ids)


def test_a_benchmark_in_which_everything_failed_is_a_page_too():
    results = [
        made_result(made_cell("a", evaluation, train, "b", train_subjects=count), reason="diverged")
        for evaluation, train, count in (
            ("within", ("b",), None),
            ("cross-corpus", ("a",), None),
            ("learning-curve", ("b",), 5),
        )
    ]
    found = Reader(render("Failed", results_table(results)))
    assert found.text.count("diverged") == 6
    assert "curves" not in found.ids


@pytest.mark.parametrize("missing", [math.nan, None, pd.NA])
def test_any_number_of_a_comparison_may_be_missing(table, missing):
    comparisons = made_comparisons(table)
    empty = comparisons.astype(object)
    for name in comparisons.columns.difference(["evaluation", "test", "first", "second", "metric"]):
        empty[name] = missing
    ranks = made_ranks(table).astype(object)
    ranks[["value", "low_rank", "high_rank", "train_subjects"]] = missing
    found = Reader(render("Made", table, empty, ranks))
    assert "differences" in found.ids
    assert "nan" not in found.text.lower().replace("finance", "")
    found = Reader(render("Made", table, comparisons[["evaluation", "test", "first", "second", "metric"]]))
    assert "differences" in found.ids


def test_numbers_that_no_metric_has_do_not_break_the_page(table):
    damaged = table.copy()
    damaged.loc[damaged.index[::3], metric_columns()] = math.inf
    damaged.loc[damaged.index[1::3], metric_columns()] = -1e300
    damaged["chance"] = -math.inf
    comparisons = made_comparisons(table)
    comparisons.loc[::2, ["difference", "low", "high", "noise_floor"]] = math.inf
    comparisons.loc[1::2, ["difference", "low", "high"]] = 1e300
    for name in ("nan", "inf"):
        assert f">{name}" not in render("Made", damaged, comparisons, made_ranks(table))


def test_the_summary_says_how_far_recipes_fall_across_corpora_and_what_is_resolved():
    values = {("a", "a"): 0.9, ("b", "b"): 0.7, ("b", "a"): 0.6, ("a", "b"): 0.6}
    results = [
        made_result(made_cell(recipe, "within" if train == test else "cross-corpus", (train,), test), value)
        for recipe in ("one", "two")
        for (train, test), value in values.items()
    ]
    table = results_table(results)
    comparisons = made_comparisons(table).assign(noise_floor=0.031, resolved=[True, *[False] * 5])
    text = Reader(render("Made", table, comparisons, sentences=[f"Sentence {n}." for n in range(20)])).text
    assert "recipes differ by −20.0 points on average, from −30.0 to −10.0 by dataset." in text
    assert "by up to 3.1 points: the median noise floor of 2 comparisons." in text
    assert "1 of 4 differences between recipes of the same neutral access, each on one dataset, are resolved." in text
    assert "15 more" in text
    assert "Sentence 19." in text


def test_ranks_that_are_not_supported_are_not_told(table):
    ranks = made_ranks(table)
    some = Reader(render("Made", table, None, ranks)).text
    assert "rank" in some.split("Results", 2)[2]
    assert re.search(r"rank \d", some) is None  # one recipe an access: no rank says anything
    both = results_table([made_result(made_cell(name), 0.6) for name in ("a", "b", "c")])
    ranks = made_ranks(both)
    assert re.findall(r"rank [\d–]+", Reader(render("Made", both, None, ranks)).text) == [
        "rank 1–2",
        "rank 1–2",
        "rank 3",
    ]
    ranks[["low_rank", "high_rank"]] = (1, 3)
    text = Reader(render("Made", both, None, ranks)).text
    assert re.search(r"rank \d", text) is None
    assert "not resolved" in text


def test_a_long_benchmark_says_what_is_not_on_its_page(table, monkeypatch):
    monkeypatch.setattr(module, "MOST_CELLS", 5)
    text = Reader(render("Made", table)).text
    assert f"And {table['fold'].isna().sum() - 5} more in results.parquet." in text


def test_the_page_is_written_whole_into_its_folder(table, tmp_path):
    write_page("Made", table, None, None, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [PAGE]
    first = (tmp_path / "out" / PAGE).read_bytes()
    write_page("Made", table, None, None, tmp_path / "out")
    assert (tmp_path / "out" / PAGE).read_bytes() == first
    with pytest.raises(FerError, match="cannot be written"):
        write_page("Made", table, None, None, tmp_path / "out" / PAGE)
