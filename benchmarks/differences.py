"""Ways to compare a face with the same person's neutral face, on one frozen encoder, pairs and folds.

    python -m benchmarks.differences DATASET [DATASET …] [--model faces]

Of the encoder's last feature maps of the face, *t*, and of the neutral face, *n* (both C×h×w), these are classified:

- *target*: the pooled *t*; *difference*: pooled *t* less pooled *n*; *both*: the two side by side, as in Difference of
  Embeddings;
- *map difference*: pooled *t* beside the mean over the map of |*t* - *n*|, a difference before pooling in place of one
  after it; *signed maps*: beside the means of the positive and of the negative parts of *t* - *n*;
- *gated*: pooled *t* beside the pooled difference times a learned gate, sigmoid(W [*t*, *t* - *n*]), as in
  squeeze-and-excitation networks (Hu et al. 2018, arXiv 1709.01507).

All but the gate are standardised and classified by scikit-learn's logistic regression, C=0.1; the gate and, to compare
it with, *linear* (both, without a gate) by a linear layer trained with AdamW. Each row has the interval of a bootstrap
over subjects and the p of the paired randomisation test against *target*, *both* and *linear*.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from benchmarks.pairing import report
from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.dataset.tensors import Crops
from fer_cli.errors import FerError
from fer_cli.models.inference import Classifier
from fer_cli.prediction.predictor import open_model

BATCH = 32
STEPS = 300
RATE = 3e-3
DECAY = 0.1


@torch.inference_mode()
def feature_maps(dataset: PreparedDataset, names: pd.Series, classifier: Classifier) -> Tensor:
    """The last feature maps of the crops called ``names``, N×C×h×w; each crop is encoded once."""
    crops, encoder = Crops(dataset.path), classifier.model.encoder
    unique = list(names.unique())
    maps = []
    for start in range(0, len(unique), BATCH):
        batch = torch.stack([crops[name] for name in unique[start : start + BATCH]])
        maps.append(encoder.features(classifier.preprocessing(batch)))
    table = torch.cat(maps)
    place = {name: number for number, name in enumerate(unique)}
    return table[[place[name] for name in names]]


class Gate(nn.Module):
    """A linear classifier of N×C faces and N×C differences, which a gate may weigh."""

    def __init__(self, width: int, classes: int, *, gated: bool):
        super().__init__()
        self.gate = nn.Linear(2 * width, width) if gated else None
        self.classifier = nn.Linear(2 * width, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """The logits, N×classes, of N×2C."""
        target, difference = inputs.chunk(2, dim=1)
        if self.gate is not None:
            difference = difference * self.gate(inputs).sigmoid()
        return self.classifier(torch.cat([target, difference], dim=1))


def trained(inputs: np.ndarray, truth: np.ndarray, *, gated: bool) -> Callable[[np.ndarray], np.ndarray]:
    """A trained :class:`Gate`, as a function from N×2C to N class indices."""
    torch.manual_seed(0)
    scaler = StandardScaler().fit(inputs)
    tensor = torch.from_numpy(scaler.transform(inputs)).float()
    labels = torch.from_numpy(truth)
    model = Gate(tensor.shape[1] // 2, int(truth.max()) + 1, gated=gated)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)
    for _ in range(STEPS):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(tensor), labels).backward()
        optimizer.step()

    @torch.inference_mode()
    def predict(others: np.ndarray) -> np.ndarray:
        return model(torch.from_numpy(scaler.transform(others)).float()).argmax(dim=1).numpy()

    return predict


def logistic(inputs: np.ndarray, truth: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """A logistic regression, as a function from N×D to N class indices."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000)).fit(inputs, truth).predict


def main(folder: Path, model: str) -> None:
    """Print the table for the dataset in ``folder``."""
    dataset, classifier = PreparedDataset.open(folder), open_model(model, device="cpu").classifier
    rows = dataset.metadata.set_index("file_name", drop=False)
    rows = rows[rows["neutral_file_name"].notna() & (rows["neutral_file_name"] != rows["file_name"])]
    classes = dataset.protocol.classes
    truth = pd.Index(classes).get_indexer(rows["label"])
    faces = feature_maps(dataset, rows["file_name"], classifier)
    apart = faces - feature_maps(dataset, rows["neutral_file_name"], classifier)
    pool = classifier.model.encoder.pool
    with torch.inference_mode():
        target, difference = pool(faces).numpy(), pool(apart).numpy()
        size = pool(apart.abs()).numpy()
        signed = np.hstack([pool(apart.relu()).numpy(), pool((-apart).relu()).numpy()])
    both = np.hstack([target, difference])
    ways = {
        "target": (target, logistic),
        "difference": (difference, logistic),
        "both": (both, logistic),
        "map difference": (np.hstack([target, size]), logistic),
        "signed maps": (np.hstack([target, signed]), logistic),
        "linear": (both, lambda *data: trained(*data, gated=False)),
        "gated": (both, lambda *data: trained(*data, gated=True)),
    }
    tables = {}
    for name, (inputs, fit) in ways.items():
        predicted = np.empty(len(rows), np.int64)
        for fold in rows["fold"].unique():
            test = (rows["fold"] == fold).to_numpy()
            predicted[test] = fit(inputs[~test], truth[~test])(inputs[test])
        tables[name] = rows[["subject", "label"]].assign(predicted=np.array(classes)[predicted])
    print(f"{dataset.protocol.name}: {len(rows)} pairs of {rows['subject'].nunique()} subjects")
    report(tables, classes, ["target", "both", "linear"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", type=Path, nargs="+")
    parser.add_argument("--model", default="faces", help="a run whose encoder is taken; default: the packaged model")
    arguments = parser.parse_args()
    try:
        for each in arguments.datasets:
            main(each, arguments.model)
    except FerError as error:
        sys.exit(f"{error.message} {error.hint}")
