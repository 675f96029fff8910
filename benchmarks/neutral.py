"""Finding the neutral face in an album: how often the right picture is chosen, and how well faces are grouped.

    python benchmarks/neutral.py FOLDER [--acted FOLDER]   (neutral/NNN.jpg, smiling/NNN.jpg; NNN/<expression>/0.jpg …)

FOLDER holds the Face Research Lab London Set (DeBruine & Jones 2017, CC BY 4.0): two pictures of each of 102 people.
They are copied under numbers that say nothing. What groups them and what tells the neutral ones was trained on drawn
faces; with ``--acted``, expressions imitated on that set, also on two thirds of the people, for an album of the others.
The detector's file is taken from FER_YUNET. Everything is written to, and taken up again from, ./benchmarks-out.
"""

import argparse
import dataclasses
import shutil
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from real_faces import DRAWN, OUT, SMALL, trained
from sklearn.metrics import completeness_score
from sklearn.metrics.cluster import contingency_matrix

from fer_cli.corpora.image_folder import ImageFolder
from fer_cli.corpora.synthetic import Synthetic
from fer_cli.dataset.plan import Preparation
from fer_cli.dataset.prepare import prepare
from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.embeddings.neutral import of_run
from fer_cli.errors import FerError
from fer_cli.faces.yunet import find_detector_model
from fer_cli.prediction.neutral import AutoNeutral
from fer_cli.prediction.neutral.given import FixedNeutral
from fer_cli.prediction.neutral.identity import choose_identity, cluster
from fer_cli.prediction.neutral.scoring import choose_scorer
from fer_cli.prediction.pipeline import FaceExtractor, Neutral, extract_faces, predict
from fer_cli.prediction.predictor import open_model
from fer_cli.prediction.results import FacePrediction, Frame
from fer_cli.runs.run import Run
from fer_cli.training.recipes.difference import DifferenceRecipe
from fer_cli.training.recipes.disentangled import IdentityRecipe

#: The identity encoder; the classifiers of single faces, drawn and real; and the paired model.
IDENTITY = IdentityRecipe(epochs=8, lr=2e-3, size=112)
DRAWN_CLASSIFIER = dataclasses.replace(DRAWN, epochs=8)
CLASSIFIER = DifferenceRecipe(features="target", tune_encoder=True, epochs=8, **SMALL)
PAIRED = DifferenceRecipe(features="both", epochs=10, **SMALL)


def album(folder: Path, people: list[str], hidden: Path) -> tuple[list[Frame], dict[Path, tuple[str, bool]]]:
    """The pictures of ``people`` under numbers in mixed order, and who each shows and whether at rest."""
    pictures = [(name, rests) for name in people for rests in (True, False)]
    truth = {}
    for number, place in enumerate(np.random.default_rng(0).permutation(len(pictures))):
        name, rests = pictures[place]
        copy = hidden / f"{number:04d}.jpg"
        shutil.copyfile(folder / ("neutral" if rests else "smiling") / f"{name}.jpg", copy)
        truth[copy] = name, rests
    return [Frame(index, path) for index, path in enumerate(truth)], truth


def report(title: str, folder: Path, people: list[str], paired: Run, classifier: Run, identity: Run | None) -> None:
    """What ``--neutral auto`` makes of an album of ``people``; no ``identity`` means the paired run's own encoder."""
    model = open_model(paired.path, device="cpu")
    network = model.classifier
    mean = of_run(paired, network.model.encoder, network.preprocessing, network.device)
    encoder = choose_identity(paired, network, wanted=None if identity is None else str(identity.path))
    scorer = choose_scorer(paired, network, mean, wanted=str(classifier.path), device="cpu")
    extract = FaceExtractor(network.preprocessing.face_crop, find_detector_model(), faces="largest")
    with TemporaryDirectory() as hidden:
        frames, truth = album(folder, people, Path(hidden))
        crops = [result.faces[0].crop for result in extract_faces(frames, extract)]
        who = np.array([truth[frame.path][0] for frame in frames])
        faces = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)
        embeddings = np.concatenate([encoder.embed(part) for part in faces.split(32)])
        print(f"\n{title}: {len(people)} people, {len(frames)} pictures")
        for threshold in (encoder.threshold * factor for factor in (0.125, 0.25, 0.5, 1, 2)):
            labels = cluster(embeddings, threshold, centre=encoder.centre)
            purity = contingency_matrix(who, labels).max(axis=0).sum() / len(who)
            together = np.mean([len(set(labels[who == name])) == 1 for name in people])
            print(
                f"  clustering at {threshold:.3f}{' (default)' if threshold == encoder.threshold else ''}: "
                f"{labels.max() + 1} clusters, purity {purity:.3f}, "
                f"completeness {completeness_score(who, labels):.3f}, "
                f"{together:.1%} of the people together"
            )
        scores = np.concatenate([scorer(part, network.embed(part)).scores for part in faces.split(32)])
        resting = {truth[frame.path][0]: frame.index for frame in frames if truth[frame.path][1]}
        smiles = {truth[frame.path][0]: frame.index for frame in frames if not truth[frame.path][1]}
        higher = np.mean([scores[resting[name]] > scores[smiles[name]] for name in people])
        print(f"  of a person's two pictures the neutral one is scored higher: {higher:.1%}")
        found = AutoNeutral(network, encoder, scorer, mean)
        found.fit(frames, extract)
        smiling = [frame for frame in frames if not truth[frame.path][1]]
        print(f"  for {len(smiling)} smiling pictures, {_shares(found, smiling, truth)}")
        right = _Given({frame.path: crops[resting[truth[frame.path][0]]] for frame in smiling})
        average = FixedNeutral(Neutral("mean", embedding=mean.mean.numpy()))
        for name, finder in (("auto", found), ("mean", average), ("their own neutral picture", right)):
            labels = [face.label for result in predict(smiling, extract, network, finder) for face in result.faces]
            print(
                f"  compared with {name}, called happiness: {np.mean([label == 'happiness' for label in labels]):.1%}"
            )


class _Given:
    """The true neutral faces: crops by picture."""

    def __init__(self, crops: dict[Path, np.ndarray]):
        self._crops = crops

    def neutral_for(self, frame: Frame, face: FacePrediction) -> Neutral:
        return Neutral("given", pixels=self._crops[frame.path])


def _shares(found, smiling: list[Frame], truth: dict[Path, tuple[str, bool]]) -> str:
    """Which neutral faces the smiling pictures were compared with."""
    counts = dict.fromkeys(("their neutral picture", "the mean", "another of the person's", "another person's"), 0)
    for frame in smiling:
        served = found.neutral_for(frame, FacePrediction(0)).name
        name, rests = truth.get(Path(served), ("", False))
        if served == "mean":
            counts["the mean"] += 1
        elif name != truth[frame.path][0]:
            counts["another person's"] += 1
        else:
            counts["their neutral picture" if rests else "another of the person's"] += 1
    own = sum(counts.values()) - counts["the mean"]
    right = counts["their neutral picture"] / max(own, 1)
    shares = ", ".join(f"{name} {count / len(smiling):.1%}" for name, count in counts.items() if count)
    return f"what serves is {shares}" + (f": right in {right:.1%} of those that are not the mean" if own else "")


def drawn_classifier() -> tuple[PreparedDataset, Run]:
    """Drawn faces, and what tells their expressions, the neutral one among them."""
    settings = Preparation(classes="8")
    prepared = prepare(Synthetic(subjects=100, frames=4), OUT / "synthetic", OUT / "data" / "synthetic", settings)
    dataset = PreparedDataset.open(prepared.path)
    return dataset, trained(DRAWN_CLASSIFIER, dataset, "neutral-drawn")


def drawn(folder: Path, people: list[str]) -> None:
    """All people, everything trained on drawn faces."""
    dataset, classifier = drawn_classifier()
    paired = trained(dataclasses.replace(PAIRED, encoder=str(classifier.path)), dataset, "neutral-drawn-paired")
    identity = trained(IDENTITY, dataset, "neutral-drawn-identity")
    report("trained on drawn faces", folder, people, paired, classifier, identity)
    report("trained on drawn faces, no identity encoder", folder, people, paired, classifier, None)


def of_others(folder: Path, acted: Path) -> None:
    """Each third of the people, everything trained on imitated expressions of another third."""
    settings = Preparation(classes="8", folds=3)
    dataset = PreparedDataset.open(
        prepare(
            ImageFolder(pattern="{subject}/{label}/{frame}.jpg"), acted, OUT / "data" / "acted-thirds", settings
        ).path
    )
    for fold in range(3):
        start = dataclasses.replace(CLASSIFIER, encoder=str(drawn_classifier()[1].path), fold=fold)
        classifier = trained(start, dataset, f"neutral-thirds-{fold}")
        paired = dataclasses.replace(PAIRED, encoder=str(classifier.path), fold=fold)
        paired = trained(paired, dataset, f"neutral-thirds-paired-{fold}")
        identity = trained(
            dataclasses.replace(IDENTITY, epochs=12, fold=fold), dataset, f"neutral-thirds-identity-{fold}"
        )
        people = sorted(paired.card["subjects"]["test"])
        report(f"trained on other people's imitated faces, fold {fold}", folder, people, paired, classifier, identity)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--acted", type=Path)
    arguments = parser.parse_args()
    begun = time.monotonic()
    everybody = sorted(path.stem for path in (arguments.folder / "smiling").glob("*.jpg"))
    try:
        drawn(arguments.folder, everybody)
        if arguments.acted is not None:
            of_others(arguments.folder, arguments.acted)
    except FerError as error:
        sys.exit(f"{error.message} {error.hint}")
    print(f"{time.monotonic() - begun:.0f} s")
