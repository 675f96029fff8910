"""Cells made up for tests: tables of predictions, and the rows that a benchmark has of them."""

from pathlib import Path

import numpy as np
import pandas as pd

from fer_cli.benchmark.cells import COLUMNS

CLASSES = ("anger", "fear", "surprise")
METRIC = "unweighted_average_recall"


class Made:
    """A benchmark's rows and predictions, made cell by cell; the folder holds the tables."""

    def __init__(self, folder: Path, *, subjects: int = 20, frames: int = 2):
        self.folder, self.subjects, self.frames = folder, subjects, frames
        self.rows: list[dict] = []
        self.predictions: dict[str, Path] = {}

    def cell(
        self,
        recipe: str,
        test: str = "acted",
        *,
        skill: float = 0.6,
        evaluation: str = "within",
        train: str | None = None,
        neutral: str = "none",
        repeat: int = 0,
        seed: int = 0,
        train_subjects: int | None = None,
        folds: int = 5,
        noise: int = 0,
        only: float = 1.0,
    ) -> pd.DataFrame:
        """Add a cell with so much skill, the share of right answers; ``noise`` draws others. Its predictions."""
        place = f"{recipe}-{neutral}-{evaluation}-{train}-{test}-{repeat}-{seed}-{train_subjects}"
        people = np.repeat(np.arange(self.subjects), len(CLASSES) * self.frames)
        truth = np.tile(np.repeat(np.arange(len(CLASSES)), self.frames), self.subjects)
        # How hard each picture is, whoever is asked; the folds of a repeat, whatever the recipe.
        hard = np.random.default_rng([1, *test.encode()]).uniform(size=len(truth))
        own = np.random.default_rng([2, noise, *place.encode()]).uniform(size=len(truth))
        wrong = 0.7 * hard + 0.3 * own > skill
        fold = np.random.default_rng([3, repeat, *test.encode()]).permutation(self.subjects)[people] % folds
        names = np.array(CLASSES)
        table = pd.DataFrame(
            {
                "file_name": [f"images/{number}.png" for number in range(len(truth))],
                "subject": [f"P{person:02d}" for person in people],
                "sequence": "",
                "fold": fold,
                "label": names[truth],
                "predicted": names[(truth + wrong) % len(CLASSES)],
            }
        )
        table = table.iloc[: round(only * len(table))]
        path = self.folder / f"{place}.csv"
        table.to_csv(path, index=False)
        self.predictions[place] = path
        common = {
            **dict.fromkeys(COLUMNS),
            **{"cell": place, "recipe": recipe, "evaluation": evaluation, "test": test, "neutral": neutral},
            **{"train": test if train is None else train, "repeat": repeat, "seed": seed, "status": "done"},
            "train_subjects": train_subjects,
        }
        self.rows.append({**common, "n": len(table), METRIC: recall(table), "accuracy": accuracy(table)})
        for number, part in table.groupby("fold") if evaluation == "within" else ():
            sizes = {"fold": number, "n": len(part), "train_n": len(table) - len(part)}
            self.rows.append({**common, **sizes, METRIC: recall(part), "accuracy": accuracy(part)})
        return table

    @property
    def results(self) -> pd.DataFrame:
        """The table of results."""
        table = pd.DataFrame(self.rows)
        whole = ["repeat", "seed", "train_subjects", "fold", "n", "train_n"]
        return table.astype(dict.fromkeys(whole, "Int64"))


def accuracy(table: pd.DataFrame) -> float:
    """The share of right predictions."""
    return float((table["label"] == table["predicted"]).mean())


def recall(table: pd.DataFrame) -> float:
    """The mean recall of the classes."""
    return float((table["label"] == table["predicted"]).groupby(table["label"]).mean().mean())
