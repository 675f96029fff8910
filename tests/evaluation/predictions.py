"""Tables of predictions made up for tests."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

CLASSES = ("anger", "fear", "surprise")


def table(rows: Sequence[tuple], classes: Sequence[str] = CLASSES) -> pd.DataFrame:
    """Predictions from rows of ``subject, sequence, label, probabilities``; the likeliest class is predicted."""
    records = []
    for place, (subject, sequence, label, shares) in enumerate(rows):
        records.append(
            {
                "file_name": f"images/{place}.png",
                "subject": subject,
                "sequence": sequence,
                "fold": 0,
                "label": label,
                "predicted": classes[int(np.argmax(shares))],
                "confidence": max(shares),
                **{f"p_{name}": share for name, share in zip(classes, shares, strict=True)},
            }
        )
    return pd.DataFrame(records).astype({"subject": "string", "sequence": "string"})


def random_table(
    seed: int, *, subjects: int = 12, frames: int = 3, skill: float = 1.5, classes: Sequence[str] = CLASSES
) -> pd.DataFrame:
    """Predictions whose frames resemble each other within a sequence, and sequences within a subject."""
    generator = np.random.default_rng(seed)
    rows = []
    for subject in range(subjects):
        easy = generator.normal(0, 1)
        for place, label in enumerate(classes):
            shown = generator.normal(0, 1, len(classes))
            shown[place] += skill + easy
            for _ in range(frames):
                powers = np.exp(shown + generator.normal(0, 0.5, len(classes)))
                rows.append((f"P{subject:02d}", label, label, powers / powers.sum()))
    return table(rows, classes)
