"""What was looked into beyond the scores, on the terminal."""

from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from fer_cli.evaluation.insight import Insight


def probe_table(insight: "Insight") -> Table:
    """How much of who someone is remains in each embedding, beside chance."""
    table = Table("identity in the", box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("identified", "AUC", "EER", "people", "faces"):
        table.add_column(name, justify="right", no_wrap=True)
    found = insight.probes_over_folds()
    for row in found.itertuples():
        figures = [
            f"{100 * row.identification:.1f} [{100 * row.low:.1f}, {100 * row.high:.1f}]",
            f"{row.auc:.3f}",
            f"{100 * row.eer:.1f}",
            str(row.subjects),
            str(row.pictures),
        ]
        table.add_row(row.embedding, *figures)
    table.add_row("by chance", f"{100 * found['chance'].iloc[0]:.1f}", "0.500", "50.0", style="dim")
    return table
