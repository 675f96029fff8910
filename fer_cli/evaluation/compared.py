"""The files that a comparison leaves."""

import textwrap
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import fer_cli
from fer_cli.errors import RunError, UsageError
from fer_cli.evaluation.bootstrap import LEVEL, REPETITIONS, SEED
from fer_cli.evaluation.compare import ALPHA, RECALL, Comparison, variants
from fer_cli.evaluation.figures import save
from fer_cli.evaluation.paired import EXCHANGES
from fer_cli.files import write_json, written_whole

CSV, JSON, PNG = "comparison.csv", "comparison.json", "comparison.png"


def refuse_overwriting(out: Path, *, overwrite: bool = False) -> None:
    """Raise :class:`~fer_cli.errors.UsageError` if the folder ``out`` has a comparison that may not be replaced.

    The record of variants that were trained together, which has the same name, may not in any case.
    """
    if variants(out):
        raise UsageError(f"{out / JSON} is the record of a training.", hint="Type another --out.")
    there = [name for name in (CSV, JSON, PNG) if (out / name).exists()]
    if there and not overwrite:
        raise UsageError(f"{out / there[0]} is there already.", hint="Type --overwrite, or another --out.")


def write_comparison(comparison: Comparison, out: Path) -> None:
    """Write ``comparison.csv``, ``comparison.json`` and ``comparison.png`` into the folder ``out``.

    Raises :class:`~fer_cli.errors.RunError` if it cannot be written; none of the three is then left that was not there.
    """
    new = [out / name for name in (CSV, JSON, PNG) if not (out / name).exists()]
    with ExitStack() as undo:
        for path in new:
            undo.callback(path.unlink, missing_ok=True)
        _write(comparison, out)
        undo.pop_all()


def _write(comparison: Comparison, out: Path) -> None:
    table = comparison.table
    stored = table.astype(object).where(table.notna(), None)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with written_whole(out / CSV) as beside:
            table.to_csv(beside, index=False, float_format="%.6g")
        save(draw_comparison(comparison), out, Path(PNG).stem, ("png",))
        write_json(
            out / JSON,
            {
                "runs": dict(zip(comparison.runs, comparison.abouts, strict=True)),
                "samples": comparison.samples,
                "subjects": comparison.subjects,
                "differing": [list(pair) for pair in comparison.differing()],
                "level": ALPHA,
                "bootstrap": {"over": "subjects", "repetitions": REPETITIONS, "seed": SEED, "level": LEVEL},
                "test": {"exchanges": "of whole subjects", "at_most": EXCHANGES, "seed": SEED, "correction": "Holm"},
                "rows": stored.to_dict(orient="records"),
                "notes": list(comparison.notes),
                "fer": fer_cli.__version__,
            },
        )
    except OSError as error:
        raise RunError(f"{out} cannot be written: {error.strerror}.", hint="Type --out FOLDER.") from error


def draw_comparison(comparison: Comparison) -> Figure:
    """Every difference with its interval as a figure: a forest plot, a panel a pair of runs."""
    pairs = list(comparison.table.groupby(["first", "second"], sort=False))
    holm = ", Holm" if len(pairs) > 1 else ""
    heights = [len(rows) for _, rows in pairs]
    figure = Figure(figsize=(7.2, 1.6 + sum(0.9 + 0.28 * rows for rows in heights)), dpi=150, layout="constrained")
    panels = figure.subplots(len(pairs), 1, squeeze=False, sharex=True, height_ratios=heights)[:, 0]
    for axes, ((first, second), rows) in zip(panels, pairs, strict=True):
        by_class = rows["measure"].str.startswith(RECALL).to_numpy()
        place = np.arange(len(rows)) + 0.6 * by_class
        points = 100 * rows[["difference", "low", "high"]].to_numpy(float)
        for chosen, colour, marker in ((~by_class, "#08519c", "s"), (by_class, "#6baed6", "o")):
            axes.hlines(place[chosen], points[chosen, 1], points[chosen, 2], color=colour, linewidth=2)
            axes.plot(points[chosen, 0], place[chosen], marker, color=colour, markersize=5)
        axes.axvline(0, color="0.5", linewidth=1, linestyle="--")
        axes.set_yticks(place, [_called(row, holm) for row in rows.itertuples()], fontsize=9)
        axes.invert_yaxis()
        axes.set_title(f"{second}  less  {first}", fontsize=10, loc="left")
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color="0.9")
        axes.set_axisbelow(True)
    panels[-1].set_xlabel("difference in points, with the 95 % interval over subjects")
    said = f"{comparison.samples} samples of {comparison.subjects or 'unknown'} subjects, tested by all"
    abouts = "\n".join(textwrap.fill(about, 100) for about in dict.fromkeys(comparison.abouts))
    figure.suptitle(f"{said}\n{abouts}", fontsize=9)
    return figure


def _called(row: Any, holm: str) -> str:
    name = row.measure.replace("_", " ").replace("f1", "F1")
    return f"{name}  (p {row.p_holm:.2g}{holm})" if row.p_holm == row.p_holm else name
