"""Sheets of results, and the Markdown and LaTeX tables that are made of them."""

import math
import re

import pandas as pd
import pytest

from fer_cli.benchmark.results import DEFAULT_METRIC, results_table
from fer_cli.benchmark.tables import LATEX, MARKDOWN, figure, latex, sheets, to_latex, to_markdown, write_tables
from fer_cli.errors import FerError
from fer_cli.evaluation.metrics import METRICS
from tests.benchmark.made_results import RANKS, made_cell, made_result, made_results

METRIC = METRICS[DEFAULT_METRIC]


def ranked(cell, low, high, metric=DEFAULT_METRIC):
    place = (cell.evaluation, " + ".join(cell.train), cell.test, math.nan, cell.neutral, cell.recipe)
    return pd.DataFrame([(*place, metric, 0.6, low, high)], columns=RANKS)


def test_an_evaluation_is_a_sheet_and_cross_corpus_one_for_each_training_dataset():
    found = sheets(results_table(made_results(("a", "b", "c"))))
    assert [(sheet.evaluation, sheet.train, sheet.tests) for sheet in found] == [
        ("within", "", ("a", "b", "c")),
        ("cross-corpus", "a", ("b", "c")),
        ("cross-corpus", "b", ("a", "c")),
        ("cross-corpus", "c", ("a", "b")),
        ("leave-one-corpus-out", "", ("a", "b", "c")),
        ("learning-curve", "", ("a", "b", "c")),
    ]
    assert [row[:3] for row in found[0].rows] == [
        ("baseline", "none", None),
        ("difference", "found", None),
        ("difference", "given", None),
    ]
    assert [row[2] for row in found[-1].rows[:3]] == [5, 10, 20]
    assert [sheet.with_subjects for sheet in found] == [False] * 5 + [True]


def test_draws_are_averaged_and_their_spread_is_told():
    cells = [made_cell(repeat=0), made_cell(repeat=1), made_cell(seed=1)]
    values = [0.5, 0.6, 0.7]
    table = results_table([made_result(cell, value, folds=2) for cell, value in zip(cells, values, strict=True)])
    entry = sheets(table, None, "accuracy")[0].rows[0][3][0]
    assert entry.value == pytest.approx(0.6)
    assert entry.spread == pytest.approx(0.1)
    assert entry.draws == 3
    whole = table[table["fold"].isna()]
    assert entry.low == pytest.approx(whole["accuracy_low"].mean())
    assert entry.high == pytest.approx(whole["accuracy_high"].mean())


def test_failed_draws_are_counted_and_a_cell_without_any_other_has_no_number():
    alone = made_result(made_cell("alone"), reason="diverged")
    results = [made_result(made_cell(), 0.5), made_result(made_cell(repeat=1), reason="diverged"), alone]
    rows = {row[0]: row[3][0] for row in sheets(results_table(results))[0].rows}
    assert (rows["baseline"].draws, rows["baseline"].failed) == (1, 1)
    assert math.isnan(rows["alone"].value)
    text = to_markdown(sheets(results_table(results)), "", METRIC)
    assert "| alone | none | failed |" in text
    assert re.search(r"\| baseline \| none \| 49\.0 \[[\d.]+, [\d.]+\] \(1 failed\) \|", text)


def test_the_best_is_bold_only_where_its_rank_is_sure():
    cells = [made_cell(), made_cell("difference"), made_cell("difference", neutral="given")]
    table = results_table([made_result(cell, 0.7) for cell in cells])
    for low, high, bold in ((1, 1, 1), (1, 2, 0), (2, 2, 0)):
        ranks = ranked(cells[1], low, high)
        assert to_markdown(sheets(table, ranks), "", METRIC).count("**69.0**") == bold
        assert to_latex(sheets(table, ranks), "", METRIC).count(r"\textbf{69.0}") == bold
    assert "**" not in to_markdown(sheets(table, ranked(cells[1], 1, 1, "accuracy")), "", METRIC)
    # It has no rival of the same neutral access.
    assert "**" not in to_markdown(sheets(table, ranked(cells[2], 1, 1)), "", METRIC)
    assert "**" not in to_markdown(sheets(table, ranked(cells[1], math.nan, math.nan)), "", METRIC)


def test_a_share_is_in_percent_and_another_number_is_not():
    assert figure(0.6543, METRICS["accuracy"]) == "65.4"
    assert figure(0.6543, METRICS["kappa"]) == "0.654"
    assert figure(math.nan, METRICS["kappa"]) == figure(math.inf, METRICS["accuracy"]) == "–"


def test_names_mean_nothing_in_markdown():
    cell = made_cell("a|b_*<i>`[x](y)", train=("#1",), test="two\nlines\x1b[31m")
    text = to_markdown(sheets(results_table([made_result(cell)])), "# title", METRIC)
    row = next(line for line in text.splitlines() if "none" in line)
    assert row.startswith(r"| a\|b\_\*\<i\>\`\[x\](y) | none | ")
    assert r"two lines\\x1b\[31m" in text
    assert text.startswith("# \\# title\n")
    widths = {len(re.split(r"(?<!\\)\|", line)) for line in text.splitlines() if line.startswith("|")}
    assert widths == {5}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a_b & 50% of #1 $x^2$ {~}", r"a\_b \& 50\% of \#1 \$x\textasciicircum{}2\$ \{\textasciitilde{}\}"),
        (r"\input{/etc/passwd}", r"\textbackslash{}input\{/etc/passwd\}"),
        ("[x] *", "{[}x{]} {*}"),
        ("a--b---c", "a-{}-b-{}--c"),
        ("Zoë Åse Łódź", r"Zo\"{e} \r{A}se \L{}\'{o}d\'{z}"),
        ("顔 😀", "U+9854 U+1F600"),
        ("two\nlines\x1b", r"two lines\textbackslash{}x1b"),
        ("a < b > c | d", r"a \textless{} b \textgreater{} c \textbar{} d"),
    ],
)
def test_names_mean_nothing_in_latex(text, shown):
    assert latex(text) == shown


def test_latex_tables_need_booktabs_alone_and_have_as_many_cells_in_each_row_as_columns():
    cells = [made_cell(r"\bad{", test="a & b"), made_cell("[1]", test="c", neutral="given")]
    results = [*made_results(), *(made_result(cell) for cell in cells)]
    text = to_latex(sheets(results_table(results)), "50 % & more", METRIC)
    assert text.isascii()
    assert set(re.findall(r"\\usepackage{(\w+)}", text)) == {"booktabs"}
    assert all(line.startswith("%") for line in text.splitlines() if "usepackage" in line)
    tables = re.findall(r"\\begin{tabular}{(l+)(r+)}\n(.*?)\\end{tabular}", text, flags=re.DOTALL)
    assert len(tables) == text.count(r"\begin{table}") == text.count(r"\end{table}") == 5
    for left, right, body in tables:
        rows = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(left + right) - 1}
        assert not any(row.startswith(("[", "*")) for row in rows)
    bare = re.sub(r"\\[\\{}]", "", text)
    assert bare.count("{") == bare.count("}")
    assert {*re.findall(r"\\([a-zA-Z]+)", text)} <= {
        *("usepackage", "begin", "end", "centering", "footnotesize", "scriptsize", "caption", "textbf", "smallskip"),
        *("toprule", "midrule", "bottomrule", "textbackslash"),
    }


def test_the_tables_are_written_next_to_each_other(tmp_path):
    table = results_table(made_results())
    write_tables(table, None, tmp_path / "out", title="Made")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {MARKDOWN, LATEX}
    assert (tmp_path / "out" / MARKDOWN).read_text().startswith("# Made\n")
    with pytest.raises(FerError, match="cannot be written"):
        write_tables(table, None, tmp_path / "out" / MARKDOWN)
