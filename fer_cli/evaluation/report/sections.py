"""The sections of the page: what each shows, as the template takes it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.dataset.tensors import Crops
from fer_cli.evaluation.calibration import Calibration
from fer_cli.evaluation.explain import GRAD_CAM
from fer_cli.evaluation.insight import Insight
from fer_cli.evaluation.report import charts
from fer_cli.evaluation.report.pictures import Album
from fer_cli.evaluation.results import Evaluation
from fer_cli.evaluation.scores import Scores
from fer_cli.runs.run import EPOCHS, Run

#: The sections in order: where, called what, and which of the page's values must be there for it.
CONTENTS = (
    ("figures", "Figures", None),
    ("confusion", "Confusion", None),
    ("classes", "By class", None),
    ("calibration", "Calibration", None),
    ("groups", "By group", "groups"),
    ("mistakes", "Mistakes", None),
    ("saliency", "Saliency", "explanations"),
    ("identity", "Identity", "probes"),
    ("map", "Map", "maps"),
    ("training", "Training", "course"),
    ("published", "Published results", None),
    ("repeat", "To repeat it", None),
)

#: What the page calls the measures, and whether they are shares of the faces.
MEASURES = {
    "accuracy": ("accuracy", True),
    "unweighted_average_recall": ("unweighted average recall", True),
    "macro_f1": ("macro-F1", True),
    "weighted_f1": ("weighted F1", True),
    "kappa": ("Cohen’s kappa", False),
    "roc_auc": ("ROC-AUC, one against the rest", False),
    "ece": ("expected calibration error", False),
}
TILES = ("accuracy", "unweighted_average_recall", "macro_f1")
SEQUENCES = {"average": "by sequence, probabilities averaged", "vote": "by sequence, majority vote"}
#: So many mistakes are shown.
MISTAKES = 12


def measure(value: float | None, share: bool) -> str:
    """A measure for people: a share in percent, another number with three decimals, a dash for none."""
    if value is None or value != value:
        return "–"
    return f"{value:.1%}" if share else f"{value:.3f}"


def bound(value: float, share: bool) -> str:
    """An end of a measure's interval, which stands beside the measure and so does without its sign."""
    return measure(value, share).removesuffix("%")


def figures(evaluation: Evaluation) -> dict[str, Any]:
    """The measures by frame and by sequence, the three of them that come first, by class, and by fold."""
    tables = {"by frame": evaluation.measures}
    tables |= {SEQUENCES[name]: table for name, table in evaluation.by_sequence.items()}
    rows = []
    for name in evaluation.measures.index:
        called, share = MEASURES.get(name, (str(name).replace("_", " "), False))
        cells = [_cell(table, name) for table in tables.values()]
        rows.append({"name": called, "share": share, "cells": cells})
    per_class = evaluation.per_class_intervals.join(evaluation.scores.per_class["support"])
    folds = evaluation.folds
    return {
        "tiles": [{"name": MEASURES[name][0], "share": True, **_cell(evaluation.measures, name)} for name in TILES],
        "measure_columns": list(tables),
        "measures": rows,
        "per_class": [
            {
                "name": name,
                "support": int(row["support"]),
                "cells": [
                    {"value": row[what], "low": row[f"{what}_low"], "high": row[f"{what}_high"]}
                    for what in ("precision", "recall", "f1")
                ],
            }
            for name, row in per_class.iterrows()
        ],
        "folds": [] if folds is None else folds.to_dict(orient="records"),
        "over_folds": "" if folds is None else _over_folds(evaluation),
    }


def _cell(table: pd.DataFrame, name: str) -> dict[str, float | None]:
    if name not in table.index:
        return {"value": None, "low": None, "high": None}
    return {column: float(table.loc[name, column]) for column in ("value", "low", "high")}


def _over_folds(evaluation: Evaluation) -> str:
    said = []
    for name in TILES:
        mean, deviation = evaluation.over_folds(name)
        said.append(f"{MEASURES[name][0]} {measure(mean, True)} ± {measure(deviation, True)}")
    return f"{', '.join(said)} (mean ± standard deviation over {len(evaluation.folds)} folds)"


def confusion(scores: Scores) -> dict[str, Any]:
    """The confusion matrix in counts and in shares of the true class."""
    counts = scores.confusion
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
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


def calibration(found: Calibration, *, folds: bool) -> dict[str, Any]:
    """The reliability diagram, and what the temperature does, or those of the ``folds`` do."""
    words = (
        f"The expected calibration error is {found.ece:.3f}: by so much, on average, the confidence differs from how "
        "often the answer is right."
    )
    if found.temperature is not None:
        temperature = (
            f"Temperatures of {found.temperature:.2f} on average, each fitted on its fold's validation fold only,"
            if folds
            else f"A temperature of {found.temperature:.2f}, fitted on the validation fold only,"
        )
        words += f" {temperature} would make it {found.ece_after:.3f}."
    return {"reliability": charts.reliability(found.bins, found.ece), "calibration_words": words}


def points(difference: float | None) -> str:
    """A difference of shares in percentage points, with its sign; a dash for none."""
    if difference is None or difference != difference:
        return "–"
    return f"{100 * difference:+.1f}".replace("-", "−")


def groups(by_group: pd.DataFrame | None, gaps: pd.DataFrame | None) -> dict[str, Any]:
    """A table of the measures of each attribute's groups, and one of the gaps between them, where there are any."""
    tables = []
    for attribute, rows in () if by_group is None else by_group.groupby("attribute", sort=False):
        tables.append(
            {
                "caption": f"Measures by {attribute}, with their 95% intervals",
                "what": attribute,
                "gaps": False,
                "rows": [
                    {
                        "name": group,
                        "small": bool(own["small"].iloc[0]),
                        "facts": [int(own["subjects"].iloc[0]), int(own["n"].iloc[0])],
                        "cells": _cells(own, "value"),
                    }
                    for group, own in rows.groupby("group", sort=False)
                ],
            }
        )
        between = gaps[gaps["attribute"] == attribute]
        if len(between):
            tables.append(
                {
                    "caption": f"Gaps between groups of {attribute}, in percentage points, with their 95% intervals",
                    "what": "gap",
                    "gaps": True,
                    "rows": [
                        {
                            "name": f"{group} less {other}",
                            "small": False,
                            "facts": [],
                            "cells": _cells(own, "difference"),
                        }
                        for (group, other), own in between.groupby(["group", "other"], sort=False)
                    ],
                }
            )
    return {"groups": tables, "group_measures": [MEASURES[name][0] for name in TILES]}


def _cells(rows: pd.DataFrame, column: str) -> list[dict[str, float | None]]:
    """The headline measures out of rows that are one a measure."""
    table = rows.set_index("measure").rename(columns={column: "value"})
    return [_cell(table, name) for name in TILES]


def mistakes(predictions: pd.DataFrame, dataset: PreparedDataset, album: Album, crops: Crops) -> dict[str, Any]:
    """The most confident mistakes, each with the person's neutral face where the dataset has one."""
    wrong = predictions[predictions["label"] != predictions["predicted"]]
    ordered = wrong.sort_values(["confidence", "file_name"], ascending=[False, True])
    # Frames of one sequence look alike and are mistaken alike.
    again = ordered["sequence"].notna() & ordered.duplicated(["subject", "sequence"])
    first = ordered[~again].head(MISTAKES)
    neutral = dataset.metadata.set_index("file_name")["neutral_file_name"].dropna().to_dict()
    shown = []
    for row in first.to_dict(orient="records"):
        beside_it = neutral.get(row["file_name"])
        who = [f"{what} {row[what]}" for what in ("subject", "sequence") if pd.notna(row[what])]
        shown.append(
            {
                **{name: row[name] for name in ("label", "predicted", "confidence")},
                "who": ", ".join(who),
                "paired": beside_it is not None,
                "neutral": None if beside_it is None else album.crop(crops, beside_it),
                "target": album.crop(crops, row["file_name"]),
            }
        )
    return {"mistakes": shown, "mistakes_in_all": len(wrong)}


def insight(found: Insight, album: Album, crops: Crops) -> dict[str, Any]:
    """What was asked for beyond the scores; empty lists for what was not."""
    return {**_saliency(found, album, crops), **_identity(found), **_maps(found)}


def _saliency(found: Insight, album: Album, crops: Crops) -> dict[str, Any]:
    shown = [
        {
            **{name: getattr(each, name) for name in ("label", "predicted", "confidence", "method")},
            "face": album.crop(crops, each.file_name),
            "overlay": album.add(each.overlay),
        }
        for each in found.explanations
    ]
    words = (
        "Grad-CAM on the encoder’s last feature map, of the class that was answered, in the target face."
        if {each.method for each in found.explanations} <= {GRAD_CAM}
        else "Attention rollout: how much of each part of the face reaches the class token through all layers, "
        "whatever the class."
    )
    scale = "The brighter, the more, each face on its own scale; bright all over means that no part stands out."
    return {"explanations": shown, "explained_words": f"{words} {scale}"}


def _identity(found: Insight) -> dict[str, Any]:
    if found.probes is None:
        return {"probes": [], "probes_caption": "", "shared_neutral": ""}
    folds = found.probes["fold"].nunique()
    over = f"; of {folds} folds, each with its own encoders, the mean" if folds > 1 else ""
    caption = f"Identity in the embeddings of the people tested, identification with its 95% interval{over}"
    shared = (
        f"The difference vectors of {found.sharing} of these people share a neutral face between the two halves: part "
        "of what is named there is that one picture."
    )
    return {
        "probes": found.probes_over_folds().to_dict(orient="records"),
        "probes_caption": caption,
        "shared_neutral": shared if found.sharing else "",
    }


def _maps(found: Insight) -> dict[str, Any]:
    maps = []
    for each in found.maps:
        for groups_of, others, what in (
            (each.labels, each.subjects, "expression"),
            (each.subjects, each.labels, "person"),
        ):
            title = f"{each.embedding[0].upper()}{each.embedding[1:]}, by {what}"
            description = f"{each.map.method}; {len(each.map.points)} faces of fold {each.fold}."
            maps.append(charts.scatter(title, description, each.map.points, groups_of, others))
    words = ""
    if found.maps:
        one = found.maps[0]
        words = (
            f"{one.map.method}: {len(one.map.points)} faces of fold {one.fold}. Faces near each other are those that "
            "the embedding takes for alike; distances between far groups mean little."
        )
    return {"maps": maps, "maps_words": words}


def course(runs: Sequence[Run]) -> list[charts.Chart]:
    """The training curves of the runs that kept theirs."""
    tables = []
    for run in runs:
        try:
            table = pd.read_csv(run.path / EPOCHS)
        except (OSError, ValueError):
            continue
        if len(table) and {"epoch", "loss", "val_loss", "val_accuracy"} <= set(table.columns):
            tables.append((run.name, table))
    return charts.course(tables) if tables else []
