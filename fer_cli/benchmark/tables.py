"""Sheets of a benchmark's results, recipes by datasets, and what is made of them: Markdown and LaTeX tables."""

import math
import string
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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
        """Whether no other recipe may be as good."""
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
    cells = cells.assign(part=cells["train"].where(cells["evaluation"] == "cross-corpus", ""))
    possible = {}
    if ranks is not None and len(ranks):
        own = ranks[(ranks["metric"] == metric) & ranks["low_rank"].notna() & ranks["high_rank"].notna()]
        columns = ["evaluation", "train", "test", "neutral", "recipe", "low_rank", "high_rank"]
        possible = {row[:5]: (int(row[5]), int(row[6])) for row in own[columns].itertuples(index=False, name=None)}
    found = []
    for (evaluation, train), part in cells.groupby(["evaluation", "part"], sort=False):
        tests = tuple(sorted(part["test"].unique()))
        chance = part.groupby("test")["chance"].mean()
        rows = []
        by_recipe = part.groupby(["recipe", "neutral", "train_subjects"], sort=False, dropna=False)
        for (recipe, neutral, subjects), row in by_recipe:
            entries = {}
            for test, of in row.groupby("test", sort=False):
                key = (evaluation, of["train"].iloc[0], test, neutral, recipe)
                entries[test] = entry(of, metric, None if pd.notna(subjects) else possible.get(key))
            number = None if pd.isna(subjects) else int(subjects)
            rows.append((recipe, neutral, number, tuple(entries.get(test) for test in tests)))
        rows.sort(key=lambda row: (row[0], NEUTRAL_ACCESS.index(row[1]), row[2] or 0))
        found.append(Sheet(evaluation, train, tests, tuple(float(chance[test]) for test in tests), tuple(rows)))
    return found


def entry(cells: pd.DataFrame, metric: str, ranks: tuple[int, int] | None = None) -> Entry:
    """The entry of the whole ``cells`` of one recipe on one dataset."""
    done = cells[cells["status"] == "done"]
    # A damaged file may hold what no metric is.
    value, low, high = (
        done[f"{metric}{end}"].replace([math.inf, -math.inf], math.nan) for end in ("", "_low", "_high")
    )
    spread = float(value.std()) if value.count() > 1 else math.nan
    failed = len(cells) - len(done)
    return Entry(*(float(each.mean()) for each in (value, low, high)), int(value.count()), spread, failed, ranks)


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
        "was compared with. Bold: the best, where no other may be as good."
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
            *("", "\\begin{table}", "\\centering\\footnotesize", f"\\caption{{{latex(words)}}}"),
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
    base, *marks = unicodedata.normalize("NFD", letter)
    if base in string.ascii_letters and len(marks) == 1 and marks[0] in _ACCENTS:
        return f"\\{_ACCENTS[marks[0]]}{{{base}}}"
    return f"U+{ord(letter):04X}"
