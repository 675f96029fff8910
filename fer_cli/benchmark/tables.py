"""Sheets of a benchmark's results, recipes by datasets, and what is made of them: Markdown and LaTeX tables."""

import math
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

import fer_cli
from fer_cli.benchmark.cells import NEUTRAL_ACCESS
from fer_cli.benchmark.results import DEFAULT_METRIC, pooled
from fer_cli.errors import FerError
from fer_cli.evaluation.metrics import METRICS, Metric
from fer_cli.files import plain, write_text

MARKDOWN, LATEX = "results.md", "results.tex"


@dataclass(frozen=True)
class Entry:
    """A number of a sheet: of several draws of the folds and seeds, the means of value, ``low`` and ``high``.

    ``spread`` is the standard deviation over the ``draws``, NaN of one. ``ranks`` are the first and the last rank that
    the comparison leaves possible, None where there is none. ``failed`` counts the cells without a number.
    """

    value: float
    low: float
    high: float
    draws: int = 1
    spread: float = math.nan
    failed: int = 0
    ranks: tuple[int, int] | None = None

    @property
    def best(self) -> bool:
        """Whether no other recipe of the same neutral access may be as good."""
        return self.ranks == (1, 1)


@dataclass(frozen=True)
class Sheet:
    """The results of one evaluation, a row a recipe and its neutral access, a column a test dataset.

    A cross-corpus evaluation has a sheet for each ``train``, which is empty in the others; the rows of a learning curve
    have the number of training subjects too, else None. ``rows`` has the entries in the order of ``tests``, None where
    there is no such cell; ``chance`` has the metric by chance, in that order.
    """

    evaluation: str
    train: str
    tests: tuple[str, ...]
    chance: tuple[float, ...]
    rows: tuple[tuple[str, str, int | None, tuple[Entry | None, ...]], ...]

    @property
    def title(self) -> str:
        """What was trained on what."""
        return f"{self.evaluation}, trained on {self.train}" if self.train else self.evaluation

    @property
    def with_subjects(self) -> bool:
        """Whether its rows have numbers of training subjects."""
        return any(row[2] is not None for row in self.rows)


def sheets(table: pd.DataFrame, ranks: pd.DataFrame | None = None, metric: str = DEFAULT_METRIC) -> list[Sheet]:
    """The whole cells of ``table`` laid out, in the order of its rows, with the ranks of ``metric``."""
    cells = pooled(table)
    # Elsewhere a test dataset goes with one training dataset, or with one set of them.
    cells = cells.assign(source=cells["train"].where(cells["evaluation"] == "cross-corpus", ""))
    found = entries(cells, metric, ["evaluation", "source", "neutral", "recipe", "test"])
    possible = _ranks(cells, ranks, metric)
    chance = cells.groupby(["evaluation", "source", "test"])["chance"].mean()
    made = []
    for evaluation, source in dict.fromkeys(key[:2] for key in found):
        own = {key[2:]: entry for key, entry in found.items() if key[:2] == (evaluation, source)}
        tests = tuple(sorted({test for _, _, test, _ in own}))
        rivals = Counter((neutral, test, subjects) for neutral, _, test, subjects in own)
        rows = []
        for neutral, recipe, subjects in dict.fromkeys((key[0], key[1], key[3]) for key in own):
            row = {test: own[key] for test in tests if (key := (neutral, recipe, test, subjects)) in own}
            for test in row:
                # Of a recipe alone no rank says anything.
                if rivals[neutral, test, subjects] > 1:
                    between = possible.get((evaluation, source, neutral, recipe, test, subjects))
                    row[test] = replace(row[test], ranks=between)
            rows.append((recipe, neutral, subjects or None, tuple(map(row.get, tests))))
        rows.sort(key=lambda row: (row[0], NEUTRAL_ACCESS.index(row[1]), row[2] or 0))
        by_chance = tuple(float(chance[evaluation, source, test]) for test in tests)
        made.append(Sheet(evaluation, source, tests, by_chance, tuple(rows)))
    return made


def entries(cells: pd.DataFrame, metric: str, by: Sequence[str]) -> dict[tuple[Any, ...], Entry]:
    """The entries of whole cells, by the values of the columns ``by`` and the number of training subjects, 0 for none.

    They are in the order of the cells.
    """
    done = cells["status"] == "done"
    numbers = cells[[metric, f"{metric}_low", f"{metric}_high"]].set_axis(["value", "low", "high"], axis=1)
    # A damaged file may hold what no metric is.
    numbers = numbers.replace([math.inf, -math.inf], math.nan).where(done).assign(failed=~done)
    groups = numbers.groupby([*(cells[name] for name in by), cells["train_subjects"].fillna(0)], sort=False)
    value, means, failed = groups["value"], groups[["low", "high"]].mean(), groups["failed"].sum()
    columns = zip(value.mean(), means["low"], means["high"], value.count(), value.std(), failed, strict=True)
    keys: Any = value.groups
    return {
        (*key[:-1], int(key[-1])): Entry(float(mean), float(low), float(high), int(draws), float(spread), int(lost))
        for key, (mean, low, high, draws, spread, lost) in zip(keys, columns, strict=True)
    }


def _ranks(cells: pd.DataFrame, ranks: pd.DataFrame | None, metric: str) -> dict[tuple[Any, ...], tuple[int, int]]:
    """The ranks by evaluation, source, neutral access, recipe, test dataset and number of subjects, 0 for none."""
    if ranks is None or ranks.empty:
        return {}
    keys = ["evaluation", "train", "test", "neutral", "recipe"]
    own = ranks[(ranks["metric"] == metric) & ranks["low_rank"].notna() & ranks["high_rank"].notna()]
    both = cells[[*keys, "source"]].drop_duplicates().merge(own, on=keys)
    columns = both[["evaluation", "source", "neutral", "recipe", "test"]].itertuples(index=False, name=None)
    numbers = both[["train_subjects", "low_rank", "high_rank"]].fillna(0).astype(int).itertuples(index=False, name=None)
    return {(*key, subjects): (low, high) for key, (subjects, low, high) in zip(columns, numbers, strict=True)}


def figure(value: float, metric: Metric) -> str:
    """A metric's value as in a table: percent without the sign, or three decimals, a dash for none."""
    if not math.isfinite(value):
        return "–"
    return f"{100 * value:.1f}" if metric.percent else f"{value:.3f}"


def write_tables(
    table: pd.DataFrame, ranks: pd.DataFrame | None, out: Path, *, title: str = "", metric: str = DEFAULT_METRIC
) -> None:
    """Write ``results.md`` and ``results.tex`` into the folder ``out``: the sheets of ``metric`` with their intervals.

    The best of a column is bold where its rank is 1 and no other. Raises :class:`~fer_cli.errors.FerError` if they
    cannot be written.
    """
    found = sheets(table, ranks, metric)
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_text(out / MARKDOWN, to_markdown(found, title, METRICS[metric]))
        write_text(out / LATEX, to_latex(found, title, METRICS[metric]))
    except OSError as error:
        raise FerError(f"{out} cannot be written: {error.strerror or error}.", hint="Type --out FOLDER.") from error


def caption(metric: Metric) -> str:
    """What the numbers of a table are."""
    unit = " in percent" if metric.percent else ""
    return (
        f"{metric.title[0].upper()}{metric.title[1:]}{unit}, with 95% intervals over subjects. Neutral: what a face "
        "was compared with. Bold: the best of the same neutral access, where no other may be as good."
    )


def to_markdown(found: Sequence[Sheet], title: str, metric: Metric) -> str:
    """The sheets as Markdown tables; what a name has of Markdown's own signs is escaped."""
    lines = [f"# {_markdown(title or 'Benchmark')}", "", caption(metric)]
    for sheet in found:
        names = ["recipe", "neutral", *(["subjects"] if sheet.with_subjects else []), *map(_markdown, sheet.tests)]
        left = len(names) - len(sheet.tests)
        lines += ["", f"## {_markdown(sheet.title)}", "", f"| {' | '.join(names)} |"]
        lines.append(f"|{' --- |' * left}{' ---: |' * len(sheet.tests)}")
        for recipe, neutral, subjects, entries in sheet.rows:
            cells = [_markdown(recipe), neutral, *([str(subjects or "")] if sheet.with_subjects else [])]
            lines.append(f"| {' | '.join([*cells, *(_words(entry, metric, '**{}**') for entry in entries)])} |")
        chance = [figure(value, metric) for value in sheet.chance]
        lines.append(f"| {' | '.join(['by chance', *[''] * (left - 1), *chance])} |")
    return "\n".join(lines) + "\n"


def _words(entry: Entry | None, metric: Metric, bold: str, interval: str = "[{}, {}]") -> str:
    if entry is None:
        return ""
    if not math.isfinite(entry.value):
        return "failed" if entry.failed else "–"
    value = figure(entry.value, metric)
    parts = [bold.format(value) if entry.best else value]
    if math.isfinite(entry.low) and math.isfinite(entry.high):
        parts.append(interval.format(figure(entry.low, metric), figure(entry.high, metric)))
    parts += [f"({entry.failed} failed)"] if entry.failed else []
    return " ".join(parts)


def _markdown(text: str) -> str:
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]<>#|~&" else letter for letter in " ".join(plain(text).split()))


def to_latex(found: Sequence[Sheet], title: str, metric: Metric) -> str:
    """The sheets as LaTeX tables, to be included in a document that has booktabs; names are escaped."""
    lines = [f"% Written by fer {fer_cli.__version__}. In the preamble: \\usepackage{{booktabs}}"]
    end = " \\\\"
    for sheet in found:
        names = ["recipe", "neutral", *(["subjects"] if sheet.with_subjects else []), *map(latex, sheet.tests)]
        left = len(names) - len(sheet.tests)
        words = " ".join(filter(None, [f"{title}:" if title else "", f"{sheet.title}.", caption(metric)]))
        lines += [
            *("", "\\begin{table}", "\\centering\\footnotesize", f"\\caption{{{latex(words)}}}", "\\smallskip"),
            f"\\begin{{tabular}}{{{'l' * left}{'r' * len(sheet.tests)}}}",
            *("\\toprule", " & ".join(names) + end, "\\midrule"),
        ]
        for recipe, neutral, subjects, entries in sheet.rows:
            cells = [latex(recipe), neutral, *([str(subjects or "")] if sheet.with_subjects else [])]
            cells += [_words(entry, metric, "\\textbf{{{}}}", "{{\\scriptsize [{}, {}]}}") for entry in entries]
            lines.append(" & ".join(cells).replace("–", "--") + end)
        chance = [figure(value, metric).replace("–", "--") for value in sheet.chance]
        lines += ["\\midrule", " & ".join(["by chance", *[""] * (left - 1), *chance]) + end]
        lines += ["\\bottomrule", "\\end{tabular}", "\\end{table}"]
    return "\n".join(lines) + "\n"


_LATEX = {
    **{letter: f"\\{letter}" for letter in "#$%&_{}"},
    **{"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "|": "\\textbar{}"},
    # A bracket or an asterisk after the end of a row would be its argument, and two backticks are a quotation mark.
    **{letter: f"{{{letter}}}" for letter in "[]*`"},
    **{"<": "\\textless{}", ">": "\\textgreater{}", '"': "\\textquotedblright{}", "→": "$\\rightarrow$"},
    **{"–": "\\textendash{}", "’": "'", "ß": "\\ss{}", "ø": "\\o{}", "Ø": "\\O{}", "æ": "\\ae{}", "Æ": "\\AE{}"},
    **{"ł": "\\l{}", "Ł": "\\L{}"},
}
#: Accents that the fonts of every LaTeX have, by their combining marks.
_ACCENTS = {
    **{"\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0308": '"', "\u0304": "=", "\u0306": "u"},
    **{"\u0307": ".", "\u030a": "r", "\u030c": "v", "\u030b": "H", "\u0327": "c"},
}


def latex(text: str) -> str:
    r"""Text as LaTeX shows it, in ASCII: a letter that not every LaTeX has becomes its number.

    >>> latex("50 % of A_1"), latex("顔")
    ('50 \\% of A\\_1', 'U+9854')
    """
    return "".join(map(_latex, " ".join(plain(text).split()))).replace("--", "-{}-")


def _latex(letter: str) -> str:
    if letter in _LATEX or letter in string.printable:
        return _LATEX.get(letter, letter)
    base, *marks = list(unicodedata.normalize("NFD", letter))
    if base in string.ascii_letters and len(marks) == 1 and marks[0] in _ACCENTS:
        return f"\\{_ACCENTS[marks[0]]}{{{base}}}"
    return f"U+{ord(letter):04X}"
