"""Sections of the page, as the template takes them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.dataset.tensors import Crops
from fer_cli.evaluation.analysis import Analysis
from fer_cli.evaluation.calibration import Calibration
from fer_cli.evaluation.metrics import CLASS_METRICS, METRICS, headline_metrics, normalize
from fer_cli.evaluation.report import charts
from fer_cli.evaluation.results import Evaluation
from fer_cli.runs.run import EPOCHS, Run

#: The sections in order: their id, their name, and the value of the page without which they are not there.
CONTENTS = (
    ("metrics", "Metrics", None),
    ("confusion", "Confusion matrix", None),
    ("classes", "Per-class metrics", None),
    ("calibration", "Calibration", None),
    ("groups", "Metrics by group", "groups"),
    ("misclassified", "Misclassified faces", None),
    ("saliency", "Saliency", "explanations"),
    ("identity", "Identity probe", "probes"),
    ("map", "Embedding map", "maps"),
    ("training", "Training history", "history"),
    ("published", "Published results", None),
    ("reproduce", "Reproduce", None),
)

WEIGHTED = "weighted by agreement"
SEQUENCES = {"average": "by sequence, probabilities averaged", "vote": "by sequence, majority vote"}
#: What the page says of the models' methods of saliency.
SALIENCY = {
    "Grad-CAM": "Grad-CAM on the encoder’s last feature map, of the predicted class, in the target face.",
    "attention rollout": "Attention rollout: how much of each part of the face reaches the class token through all "
    "layers, whatever the class.",
}
#: At most so many misclassified faces are shown.
MISCLASSIFIED = 12


def number(value: float | None, percent: bool) -> str:
    """A metric for people: a share in percent, another number with three decimals, a dash for none."""
    if value is None or value != value:
        return "–"
    return f"{value:.1%}" if percent else f"{value:.3f}"


def bound(value: float, percent: bool) -> str:
    """An end of a metric's interval, which stands next to the metric and so does without its sign."""
    return number(value, percent).removesuffix("%")


def metrics(evaluation: Evaluation) -> dict[str, Any]:
    """The metrics by frame and by sequence, the headline ones, per class, and by fold."""
    tables = {"by frame": evaluation.metrics}
    tables |= {SEQUENCES[name]: table for name, table in evaluation.by_sequence.items()}
    parts = ["by frame", *(["by sequence"] if evaluation.by_sequence else [])]
    if evaluation.agreement is not None:
        tables[WEIGHTED] = evaluation.agreement.metrics
        parts.append(WEIGHTED)
    headline, folds = headline_metrics(), evaluation.folds
    return {
        "headline": headline,
        "tiles": [(metric, _cell(evaluation.metrics.loc[metric.name])) for metric in headline],
        "chance": [(METRICS[name], level) for name, level in evaluation.chance.items()],
        "metric_columns": list(tables),
        "metric_words": f"{', '.join(parts[:-1])} and {parts[-1]}" if parts[1:] else parts[0],
        "agreement_words": _agreement(evaluation),
        "missing_words": _missing(evaluation),
        "metrics": [
            (metric, [_cell(table.loc[name]) for table in tables.values()]) for name, metric in METRICS.items()
        ],
        "class_titles": list(CLASS_METRICS.values()),
        "per_class": [
            {
                "name": name,
                "support": int(row["support"]),
                "cells": [
                    {"value": row[what], "low": row[f"{what}_low"], "high": row[f"{what}_high"]}
                    for what in CLASS_METRICS
                ],
            }
            for name, row in evaluation.per_class.iterrows()
        ],
        "folds": [] if folds is None else folds.to_dict(orient="records"),
        "over_folds": "" if folds is None else _over_folds(evaluation),
    }


def _agreement(evaluation: Evaluation) -> str:
    if evaluation.agreement is None:
        return ""
    mean, most = (
        f"{number(row['value'], True)} ({bound(row['low'], True)} to {bound(row['high'], True)})"
        for _, row in evaluation.agreement.expected.iterrows()
    )
    return (
        "Weighted by agreement, each face counts as much as the share of its raters’ votes that its label has. The "
        f"expected accuracy, the mean share of the votes that the predicted class has, is {mean}; predicting every "
        f"label would reach {most}."
    )


def _missing(evaluation: Evaluation) -> str:
    if (missing := evaluation.missing) is None:
        return ""
    values = []
    for metric in headline_metrics():
        value, low, high = map(float, missing.metrics.loc[metric.name].to_numpy())
        between = f" ({bound(low, metric.percent)} to {bound(high, metric.percent)})" if low == low else ""
        values.append(f"{metric.title} {number(value, metric.percent)}{between}")
    return (
        f"All metrics on this page are of the pictures that have a prediction. {len(missing.pictures)} of "
        f"{missing.total} have none; counted as wrong, they make {', '.join(values)}."
    )


def _cell(row: Any) -> dict[str, float]:
    return {name: float(row[name]) for name in ("value", "low", "high")}


def _over_folds(evaluation: Evaluation) -> str:
    parts: list[str] = []
    folds = 0 if evaluation.folds is None else len(evaluation.folds)
    for metric in headline_metrics():
        mean, deviation = (number(value, metric.percent) for value in evaluation.over_folds(metric.name))
        parts.append(f"{metric.title} {mean} ± {deviation}")
    return f"{', '.join(parts)} (mean ± standard deviation over {folds} folds)"


def confusion(counts: np.ndarray) -> dict[str, Any]:
    """The confusion matrix in counts and in shares of the true class."""
    shares = np.nan_to_num(normalize(counts))
    matrices = {
        "Counts": [[str(count) if count else "·" for count in row] for row in counts],
        "Shares of the true class": [[f"{share:.0%}" if share else "·" for share in row] for row in shares],
    }
    return {
        "matrices": [
            {
                "caption": caption,
                "rows": [
                    [{"text": text, "share": float(share)} for text, share in zip(*pair, strict=True)]
                    for pair in zip(texts, shares, strict=True)
                ],
            }
            for caption, texts in matrices.items()
        ]
    }


def calibration(calibration: Calibration, *, folds: bool) -> dict[str, Any]:
    """The reliability diagram, and the effect of the temperature, or of those of the ``folds``."""
    if not calibration.defined:
        words = "There is no calibration: these predictions are classes without probabilities."
        return {"reliability": None, "calibration_words": words}
    words = (
        f"The expected calibration error, the mean difference between confidence and accuracy, is "
        f"{calibration.ece:.1%}."
    )
    if calibration.temperature is not None:
        temperature = (
            f"Temperatures of {calibration.temperature:.2f} on average, each fitted on its fold's validation fold only,"
            if folds
            else f"A temperature of {calibration.temperature:.2f}, fitted on the validation fold only,"
        )
        words += f" {temperature} would make it {calibration.ece_after:.1%}."
    return {"reliability": charts.reliability(calibration.bins, calibration.ece), "calibration_words": words}


def points(difference: float | None) -> str:
    """A difference of shares in percentage points, with its sign; a dash for none."""
    if difference is None or difference != difference:
        return "–"
    return f"{100 * difference:+.1f}".replace("-", "−")


def groups(by_group: pd.DataFrame | None, gaps: pd.DataFrame | None) -> dict[str, Any]:
    """A table of the metrics of each attribute's groups, and one of the gaps between them, where there are any."""
    tables = []
    for attribute, rows in () if by_group is None else by_group.groupby("attribute", sort=False):
        caption = f"Metrics by {attribute}, with their 95% intervals"
        cells = [
            {
                "name": group,
                "small": bool(own["small"].iloc[0]),
                "facts": [int(own["subjects"].iloc[0]), int(own["n"].iloc[0])],
                "cells": _headline_cells(own),
            }
            for group, own in rows.groupby("group", sort=False)
        ]
        tables.append({"caption": caption, "what": attribute, "gaps": False, "rows": cells})
        if gaps is None:
            continue
        between = gaps[gaps["attribute"] == attribute].rename(columns={"difference": "value"})
        if len(between):
            caption = f"Gaps between groups of {attribute}, in percentage points, with their 95% intervals"
            cells = [
                {"name": f"{group} less {other}", "small": False, "facts": [], "cells": _headline_cells(own)}
                for (group, other), own in between.groupby(["group", "other"], sort=False)
            ]
            tables.append({"caption": caption, "what": "gap", "gaps": True, "rows": cells})
    return {"groups": tables}


def _headline_cells(rows: pd.DataFrame) -> list[dict[str, float]]:
    """The headline metrics out of rows that are one a metric."""
    table = rows.set_index("measure")
    return [_cell(table.loc[metric.name]) for metric in headline_metrics()]


def misclassified(
    predictions: pd.DataFrame, dataset: PreparedDataset, album: charts.Album, crops: Crops
) -> dict[str, Any]:
    """The misclassified faces, the most confident first, each with the person's neutral face if there is one."""
    wrong = predictions[predictions["label"] != predictions["predicted"]]
    ordered = wrong.sort_values(["confidence", "file_name"], ascending=[False, True])
    # Frames of one sequence look alike and are misclassified alike.
    again = ordered["sequence"].notna() & ordered.duplicated(["subject", "sequence"])
    first = ordered[~again].head(MISCLASSIFIED)
    neutral = dataset.metadata.set_index("file_name")["neutral_file_name"].dropna().to_dict()
    faces = []
    for row in first.to_dict(orient="records"):
        neutral_name = neutral.get(row["file_name"])
        who = [f"{what} {row[what]}" for what in ("subject", "sequence") if pd.notna(row[what])]
        faces.append(
            {
                **{name: row[name] for name in ("label", "predicted", "confidence")},
                "who": ", ".join(who),
                "paired": neutral_name is not None,
                "neutral": None if neutral_name is None else album.crop(crops, neutral_name),
                "target": album.crop(crops, row["file_name"]),
            }
        )
    return {"misclassified": faces, "misclassified_in_all": len(wrong)}


def analysis(analysis: Analysis, album: charts.Album, crops: Crops) -> dict[str, Any]:
    """The analyses that were asked for; empty lists for the others."""
    return {**_saliency(analysis, album, crops), **_identity(analysis), **_maps(analysis)}


def _saliency(analysis: Analysis, album: charts.Album, crops: Crops) -> dict[str, Any]:
    faces = [
        {
            **{name: getattr(each, name) for name in ("label", "predicted", "confidence", "method")},
            "face": album.crop(crops, each.file_name),
            "overlay": album.add(each.overlay),
        }
        for each in analysis.explanations
    ]
    words = " ".join(SALIENCY.get(name, f"{name}.") for name in {each.method: 0 for each in analysis.explanations})
    scale = "The brighter, the more, each face on its own scale; bright all over means that no part stands out."
    return {"explanations": faces, "explained_words": f"{words} {scale}"}


def _identity(analysis: Analysis) -> dict[str, Any]:
    if analysis.probes is None:
        return {"probes": [], "probes_caption": "", "shared_neutral": ""}
    folds = analysis.probes["fold"].nunique()
    over = f"; of {folds} folds, each with its own encoders, the mean" if folds > 1 else ""
    caption = f"Identity in the embeddings of the people tested, identification with its 95% interval{over}"
    shared = (
        f"The difference vectors of {analysis.sharing} of these people share a neutral face between the two halves: "
        "part of their identification is that one picture."
    )
    return {
        "probes": analysis.probes_over_folds().to_dict(orient="records"),
        "probes_caption": caption,
        "shared_neutral": shared if analysis.sharing else "",
    }


def _maps(analysis: Analysis) -> dict[str, Any]:
    maps = []
    for each in analysis.maps:
        for groups_of, others, what in (
            (each.labels, each.subjects, "expression"),
            (each.subjects, each.labels, "person"),
        ):
            title = f"{each.embedding[0].upper()}{each.embedding[1:]}, by {what}"
            description = f"{each.map.method}; {len(each.map.points)} faces of fold {each.fold}."
            maps.append(charts.scatter(title, description, each.map.points, groups_of.tolist(), others.tolist()))
    words = ""
    if analysis.maps:
        one = analysis.maps[0]
        words = (
            f"{one.map.method}: {len(one.map.points)} faces of fold {one.fold}. Faces near each other have "
            "similar embeddings; distances between far groups mean little."
        )
    return {"maps": maps, "maps_words": words}


def history(runs: Sequence[Run]) -> list[charts.Chart]:
    """The training curves of the runs that have theirs."""
    tables = []
    for run in runs:
        try:
            table = pd.read_csv(run.path / EPOCHS)
        except (OSError, ValueError):
            continue
        if len(table) and {"epoch", "loss", "val_loss", "val_accuracy"} <= set(table.columns):
            tables.append((run.name, table))
    return charts.history(tables) if tables else []
