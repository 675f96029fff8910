"""The page of a benchmark as a browser shows it: both themes, from narrow to wide, with everything opened."""

from pathlib import Path

import pytest

from fer_cli.benchmark.page import PAGE, write_page
from fer_cli.benchmark.results import DEFAULT_METRIC, against, results_table
from tests.benchmark.made_results import made_cell, made_comparisons, made_ranks, made_result, made_results
from tests.browser import check_readable, check_silent, needs_browser

pytestmark = needs_browser

DATASETS = ("acted", "wild", "a corpus with a rather long name (frames)", "x" * 60)
RECIPES = {"baseline": ("none", "given"), "difference": ("mean", "found", "given"), "a_very_long_name" * 6: ("none",)}


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """A benchmark with all that a page can have."""
    failed = made_result(made_cell("py-feat", "predictions", (), "wild"), reason="out of memory: " + "x" * 300)
    table = results_table([*made_results(DATASETS, RECIPES), failed])
    before = table.copy()
    before.loc[before.index[::50], DEFAULT_METRIC] -= 0.1
    folder = tmp_path_factory.mktemp("benchmark")
    write_page(
        "Made " + "y" * 80,
        table,
        made_comparisons(table),
        made_ranks(table),
        folder,
        sentences=["The draw of the folds moves recall by 2.1 points.", "z" * 200],
        against=against(table, before),
        command="fer benchmark made.toml --out runs/" + "w" * 200,
    )
    return folder / PAGE


@pytest.mark.parametrize("width", [1600, 400])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_can_be_read_in_both_themes_wide_and_narrow(page, tmp_path, theme, width):
    opened = tmp_path / "opened.html"
    opened.write_text(page.read_text(encoding="utf-8").replace("<details", "<details open"), encoding="utf-8")
    found = check_readable(tmp_path, opened, theme, width)
    assert found["texts"] > 1000
    assert found["images"] == 0


def test_it_opens_without_a_complaint_and_no_request_leaves_it(page, tmp_path):
    shown = check_silent(tmp_path, page)
    assert shown.count('<svg class="chart"') == 4 * 4
    assert 'id="differences"' in shown
