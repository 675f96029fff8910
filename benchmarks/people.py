"""People over time, on real faces: an identity encoder trained on other people, and albums predicted by it.

    python benchmarks/people.py train  --wild DATA --tested DATA
    python benchmarks/people.py groups --wild DATA --tested DATA
    python benchmarks/people.py albums --tested DATA --runs RUNS

``--wild`` is a prepared dataset of faces of named people; ``--tested`` one of those of them whom no model has seen,
with pairs and folds; ``--runs`` an ablation on it, whose ``both`` and ``target`` have a run a fold. ``train`` fine-
tunes the packaged model's encoder to tell people of ``--wild`` apart who are not in ``--tested``; a fifth of them,
not trained on, give the threshold. ``groups`` compares clusterings. ``albums`` splits each tested person's pictures
in halves, in the files' order: album 1 is predicted with ``--people``, and album 2 after it. Everything is written
to, and taken up again from, ./benchmarks-out/people.
"""

import argparse
import math
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from sklearn.cluster import HDBSCAN, AgglomerativeClustering
from sklearn.metrics import completeness_score, homogeneity_score, roc_auc_score
from sklearn.metrics.cluster import contingency_matrix
from torch import Tensor, nn
from torch.nn import functional

from fer_cli.cli.app import app
from fer_cli.embeddings.neutral import NeutralMean, distances, unit
from fer_cli.errors import FerError
from fer_cli.evaluation.bootstrap import bootstrap
from fer_cli.evaluation.metrics import LabelledPredictions, compute_metrics
from fer_cli.labels import NEUTRAL
from fer_cli.models.backbones import make_encoder, starting_point
from fer_cli.models.loading import save_tensors
from fer_cli.models.preprocessing import Preprocessing
from fer_cli.prediction.neutral.identity import cluster
from fer_cli.pretrained import NAME
from fer_cli.training.augmentation import Augmentation

OUT = Path("benchmarks-out/people")
IDENTITY = OUT / "identity"
WEIGHTS = "model.safetensors"
THRESHOLDS = np.round(np.arange(0.1, 1.0, 0.025), 3)
#: Single models: trained on the same people as the paired one, and the packaged one.
ALONE, PACKAGED = "none, trained on the same people", "none, the packaged model"
#: How many people an album shows whose threshold is chosen.
PEOPLE = 90
#: Of a person with hundreds of pictures the first are used.
MOST = 40
#: CosFace (H. Wang et al., CVPR 2018, arXiv 1801.09414): the scale of the cosines, and the margin.
SCALE, MARGIN = 24.0, 0.25
BATCH, RATE = 64, 1.5e-3
AUGMENTATION = Augmentation(
    flip=0.5,
    degrees=8,
    translate=0.04,
    scale=0.08,
    fill="reflection",
    brightness=0.3,
    contrast=0.3,
    soften=0.2,
    erasing=0.2,
)


def rows_of(data: Path) -> pd.DataFrame:
    """The pictures of a prepared dataset, with their paths, at most :data:`MOST` of a person."""
    rows = pd.read_csv(data / "metadata.csv", dtype=str)
    rows["path"] = [str((data / name).resolve()) for name in rows["file_name"]]
    return rows.groupby("subject").head(MOST).sort_values(["subject", "file_name"]).reset_index(drop=True)


def crops_of(rows: pd.DataFrame) -> Tensor:
    """N×3×S×S uint8."""
    return torch.from_numpy(np.stack([np.array(Image.open(path).convert("RGB")) for path in rows["path"]])).permute(
        0, 3, 1, 2
    )


def divided(wild: Path, tested: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The people who are not in ``tested``: those to train on, with two pictures or more, and a fifth of all apart."""
    rows = rows_of(wild)
    rows = rows[~rows["subject"].isin(set(rows_of(tested)["subject"]))]
    people = np.array(sorted(rows["subject"].unique()))
    apart = set(np.random.default_rng(0).choice(people, len(people) // 5, replace=False))
    others, train = rows[rows["subject"].isin(apart)], rows[~rows["subject"].isin(apart)]
    train = train[train.groupby("subject")["subject"].transform("size") > 1]
    return train.reset_index(drop=True), others.reset_index(drop=True)


def train(wild: Path, tested: Path, start: str, minutes: float, epochs: int) -> None:
    """Train the identity encoder for ``epochs``, or as long as ``minutes`` allow, and choose its threshold."""
    torch.manual_seed(0)
    rows, others = divided(wild, tested)
    point = starting_point(start, None)
    network = make_encoder(point.backbone, point.size)
    point.start(network, point.size)
    preprocessing = point.preprocessing
    people = {name: place for place, name in enumerate(sorted(rows["subject"].unique()))}
    labels, crops = torch.tensor([people[name] for name in rows["subject"]]), crops_of(rows)
    print(f"{len(rows)} pictures of {len(people)} people to train on, {len(others)} for the threshold", flush=True)
    head = nn.Parameter(torch.randn(len(people), network.width) * 0.05)
    optimizer = torch.optim.AdamW(
        [{"params": network.parameters(), "ratio": 1}, {"params": [head], "ratio": 3}], lr=RATE, weight_decay=0.05
    )
    average = {name: value.clone() for name, value in network.state_dict().items()}
    centre, step, begun = None, 0, time.monotonic()
    total = epochs * (len(rows) // BATCH)
    for epoch in range(epochs):
        network.train()
        losses, order = [], torch.randperm(len(rows))
        for chosen in order.split(BATCH)[: len(rows) // BATCH]:
            # By the clock too, so that the rate is low when the time is over.
            done = max(step / total, (time.monotonic() - begun) / (60 * minutes))
            if done >= 1:
                break
            for group in optimizer.param_groups:
                group["lr"] = RATE * group["ratio"] * min(1, step / 100) * (1 + math.cos(math.pi * done)) / 2
            pictures = AUGMENTATION.batch({"pixel_values": crops[chosen]})["pixel_values"]
            embeddings = network(preprocessing((pictures * 255).round().to(torch.uint8)))
            batch = embeddings.detach().mean(dim=0)
            centre = batch if centre is None else 0.99 * centre + 0.01 * batch
            cosines = functional.normalize(embeddings - centre) @ functional.normalize(head).T
            margin = functional.one_hot(labels[chosen], len(people)) * MARGIN * min(1, step / 600)
            loss = functional.cross_entropy(SCALE * (cosines - margin), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimizer.step()
            decay = min(0.998, (1 + step) / (10 + step))
            for name, value in network.state_dict().items():
                is_mean = value.dtype.is_floating_point
                average[name] = decay * average[name] + (1 - decay) * value if is_mean else value.clone()
            losses.append(loss.item())
            step += 1
        if losses:
            print(f"epoch {epoch}: loss {np.mean(losses):.3f}, {time.monotonic() - begun:.0f} s", flush=True)
    network.load_state_dict(average)
    store(network, preprocessing, rows, others)


def store(network: nn.Module, preprocessing: Preprocessing, rows: pd.DataFrame, others: pd.DataFrame) -> None:
    """Save the encoder with its centre, and the threshold at which ``others`` are grouped best."""
    IDENTITY.mkdir(parents=True, exist_ok=True)
    preprocessing.save(IDENTITY)
    centre = embedded(network, preprocessing, rows.groupby("subject").head(2)).mean(axis=0)
    faces = unit(embedded(network, preprocessing, others), centre)
    threshold, _ = best(others["subject"].to_numpy(), lambda rows, each: cluster(faces[rows], each), PEOPLE)
    NeutralMean(torch.from_numpy(centre), rows["subject"].nunique(), float(threshold)).save(IDENTITY)
    save_tensors({f"encoder.{name}": value for name, value in network.state_dict().items()}, IDENTITY / WEIGHTS)


@torch.inference_mode()
def embedded(network: nn.Module, preprocessing: Preprocessing, rows: pd.DataFrame) -> np.ndarray:
    """N×D."""
    network.eval()
    return torch.cat([network(preprocessing(part)) for part in crops_of(rows).split(64)]).numpy()


def grouping(who: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """How well clusters are people: of N faces.

    Purity: faces in a cluster of which most are that person's. Together: of a person with several pictures, the part in
    one cluster, averaged over people. B-cubed: A. Bagga and B. Baldwin, ACL 1998.
    """
    table = contingency_matrix(who, labels)
    sizes, several = table.sum(axis=1), table.sum(axis=1) > 1
    precision = (table**2 / table.sum(axis=0)).sum() / len(who)
    recall = (table**2 / sizes[:, None]).sum() / len(who)
    return {
        "clusters": table.shape[1],
        "purity": table.max(axis=0).sum() / len(who),
        "together": (table.max(axis=1) / sizes)[several].mean(),
        "homogeneity": homogeneity_score(who, labels),
        "completeness": completeness_score(who, labels),
        "b-cubed precision": precision,
        "b-cubed recall": recall,
        "b-cubed F": 2 * precision * recall / (precision + recall),
    }


def verification(embeddings: np.ndarray, who: np.ndarray) -> tuple[float, float]:
    """The area under the ROC of all pairs, and the part of a person's pairs found at 1 % false ones."""
    apart = distances(embeddings, embeddings)
    one, other = np.triu_indices(len(who), 1)
    same, apart = who[one] == who[other], apart[one, other]
    return roc_auc_score(same, -apart), float((apart[same] < np.quantile(apart[~same], 0.01)).mean())


def best(who: np.ndarray, labels_of: Callable, people: int, settings: Sequence[float] = THRESHOLDS):
    """The setting with the highest mean B-cubed F over albums of so many ``people``, and the mean :func:`grouping`.

    ``labels_of`` gives the labels of some rows at a setting.
    """
    codes = pd.factorize(who)[0]
    count = max(1, (codes.max() + 1) // people)
    albums = [np.flatnonzero(np.minimum(codes // people, count - 1) == number) for number in range(count)]
    tried = {}
    for setting in settings:
        tried[setting] = pd.DataFrame([grouping(who[rows], labels_of(rows, setting)) for rows in albums]).mean()
    chosen = max(tried, key=lambda setting: tried[setting]["b-cubed F"])
    return float(chosen), tried[chosen]


def clusterings(faces: np.ndarray) -> dict[str, tuple[Callable, Sequence[float]]]:
    """Labels of some rows of the unit ``faces`` at a setting, and the settings, by the clustering's name."""

    def apart(rows: np.ndarray) -> np.ndarray:
        found = distances(faces[rows], faces[rows]).clip(min=0)
        np.fill_diagonal(found, 0)
        return found

    def linked(linkage: str) -> Callable:
        return lambda rows, threshold: AgglomerativeClustering(
            n_clusters=None, distance_threshold=threshold, metric="precomputed", linkage=linkage
        ).fit_predict(apart(rows))

    def dense(rows: np.ndarray, smallest: float) -> np.ndarray:
        found = HDBSCAN(min_cluster_size=int(smallest), min_samples=1, metric="precomputed", copy=True).fit_predict(
            apart(rows)
        )
        alone = found < 0
        found[alone] = found.max() + 1 + np.arange(alone.sum())
        return found

    named = {f"{linkage} linkage": (linked(linkage), THRESHOLDS) for linkage in ("average", "complete", "single")}
    return {**named, "HDBSCAN": (dense, (2.0,))}


def groups(wild: Path, tested: Path, start: str) -> None:
    """Verification and grouping of the tested people, at the setting that groups the others best."""
    rows, others = divided(wild, tested)
    faces, centred = rows_of(tested), rows.groupby("subject").head(2)
    names = [each["subject"].to_numpy() for each in (others, faces)]
    for name, source in (("expressions", start), ("people", str(IDENTITY))):
        point = starting_point(source, None)
        network = make_encoder(point.backbone, point.size)
        point.start(network, point.size)
        sample, *both = (embedded(network, point.preprocessing, each) for each in (centred, others, faces))
        units = [unit(each, sample.mean(axis=0)) for each in both]
        area, found = verification(units[1], names[1])
        print(f"encoder of {name}: AUC {area:.3f}, {found:.1%} of a person's pairs at 1 % false")
        for people in (PEOPLE, len(faces)):
            print(f"  {'all in one album' if people > PEOPLE else f'albums of {PEOPLE} people'}:")
            for kind, (labels_of, settings) in clusterings(units[0]).items():
                chosen, _ = best(names[0], labels_of, people, settings)
                _, figures = best(names[1], clusterings(units[1])[kind][0], people, [chosen])
                said = ", ".join(f"{key} {value:.3f}" for key, value in figures.items())
                print(f"    {kind} at {chosen:.3f}: {said}", flush=True)


def halves(rows: pd.DataFrame) -> pd.Series:
    """The album, 1 or 2, of each picture: a person's first half and second half; of one picture alone in turn."""
    place, count = rows.groupby("subject").cumcount(), rows.groupby("subject")["subject"].transform("size")
    turn = rows["subject"].rank(method="dense").astype(int) % 2
    return pd.Series(np.where(count > 1, place >= (count + 1) // 2, turn) + 1, index=rows.index)


def predicted(name: str, album: Path, run: Path, *flags: str) -> pd.DataFrame:
    """What ``fer predict`` makes of an album, by path."""
    out = album.with_name(f"{album.stem}.{name}.csv")
    if not out.is_file():
        app(
            ["predict", str(album), "--run", str(run), "--detector", "none", "--out", str(out), *flags],
            standalone_mode=False,
        )
    return pd.read_csv(out, dtype={"person": str}).set_index("file")


def albums(tested: Path, runs: Path, start: str) -> None:
    """Album 1 with ``--people``, album 2 after it, and album 2 with every other neutral face; fold by fold."""
    rows = rows_of(tested)
    rows["album"] = halves(rows)
    tables = []
    for fold, part in rows.groupby("fold"):
        folder = OUT / "albums" / f"fold{fold}"
        folder.mkdir(parents=True, exist_ok=True)
        first, second = part[part["album"] == 1], part[part["album"] == 2]
        for number, album in ((1, first), (2, second)):
            album[["path", "subject"]].to_csv(folder / f"album{number}.csv", index=False)
        known = first[first["label"] == NEUTRAL].drop_duplicates("subject")
        known[["path", "subject"]].to_csv(folder / "known.csv", index=False)
        paired, alone = (runs / kind / f"fold{fold}" for kind in ("both", "target"))
        people = ("--identity", str(IDENTITY), "--people", str(folder / "people"))
        one, two = folder / "album1.csv", folder / "album2.csv"
        if not (folder / "album2.people.csv").is_file():
            shutil.rmtree(folder / "people", ignore_errors=True)
            (folder / "album1.people.csv").unlink(missing_ok=True)
        before = predicted("people", one, paired, *people)
        found = {
            "people": predicted("people", two, paired, *people),
            ALONE: predicted("none", two, alone),
            PACKAGED: predicted("single", two, Path(start)),
            "mean": predicted("mean", two, paired, "--neutral", "mean"),
            "found in album 2": predicted("found", two, paired, "--neutral", "auto", "--identity", str(IDENTITY)),
            "given": predicted("given", two, paired, "--neutral", str(folder / "known.csv")),
        }
        table = pd.concat([first.set_index("path"), second.set_index("path")])[["subject", "label", "album"]]
        table["person"] = pd.concat([before["person"], found["people"]["person"]])
        table["neutral"] = pd.concat([before["neutral"], found["people"]["neutral"]])
        table["known"] = table["subject"].isin(set(known["subject"]))
        table["fold"] = fold
        classes = [column.removeprefix("p_") for column in found["mean"] if column.startswith("p_")]
        for name, each in found.items():
            # The packaged model has more classes.
            shares = each[[f"p_{label}" for label in classes]]
            table[name] = shares.idxmax(axis=1).str.removeprefix("p_").reindex(table.index)
        tables.append(table)
    report(pd.concat(tables), classes)


#: The ways to come by a neutral face, in the order of the table.
WAYS = (ALONE, PACKAGED, "mean", "found in album 2", "people", "given")


def report(table: pd.DataFrame, classes: list[str]) -> None:
    """Print how well people were told apart, and the accuracy with each neutral face."""
    table = table.assign(person=table["fold"] + " " + table["person"])
    for numbers in ((1,), (1, 2)):
        # In the album of one person any grouping is pure.
        albums = [
            part for _, part in table[table["album"].isin(numbers)].groupby("fold") if part["subject"].nunique() > 1
        ]
        found = pd.DataFrame([grouping(part["subject"].to_numpy(), part["person"].to_numpy()) for part in albums])
        figures = ", ".join(f"{key} {value:.3f}" for key, value in found.mean().items())
        print(f"albums {numbers}, mean of {len(found)} folds: {figures}")
    second = table[table["album"] == 2]
    recognition(table[table["album"] == 1], second)
    both = (("all of album 2", second), ("people of whom album 1 has a neutral picture", second[second["known"]]))
    for name, part in both:
        print(f"{name}: {len(part)} pictures of {part['subject'].nunique()} people")
        for way in WAYS:
            if part[way].isna().any():
                continue
            figures, _ = compute_metrics(
                LabelledPredictions.of(part.assign(predicted=part[way]), classes, with_probabilities=False)
            )
            said = (
                "{value:.3f} ({low:.3f} to {high:.3f})".format(**figures.loc[metric])
                for metric in ("accuracy", "unweighted_average_recall")
            )
            print(f"  {way}: accuracy {', average recall '.join(said)}", flush=True)


def recognition(first: pd.DataFrame, second: pd.DataFrame) -> None:
    """How often somebody of album 1 is recognised in album 2, and how often somebody is taken for another."""
    whose = second["person"].map(first.groupby("person")["subject"].agg(lambda names: names.mode()[0]))
    met = second["subject"].isin(set(first["subject"]))
    right, wrong = whose == second["subject"], whose.notna() & (whose != second["subject"])
    served = second["neutral"].str.startswith("people:")
    for name, rows, hits in (
        ("somebody of album 1 is recognised", met, right),
        ("somebody of album 1 is taken for another of album 1", met, wrong),
        ("a stranger is taken for somebody of album 1", ~met, wrong),
        ("a profile serves", second["neutral"].notna(), served),
        ("a profile that serves is of another of album 1", served, wrong),
    ):
        value, low, high = share(hits[rows], second["subject"][rows])
        print(f"{name}: {value:.1%} ({low:.1%} to {high:.1%}) of {rows.sum()} pictures")


def share(hits: pd.Series, subjects: pd.Series) -> tuple[float, float, float]:
    """The share of hits, with its interval over people."""
    units, names = pd.factorize(subjects)
    sums, counts = np.bincount(units, weights=hits.astype(float)), np.bincount(units)
    found = bootstrap(lambda draws: {"share": draws @ sums / np.maximum(draws @ counts, 1)}, len(names))
    return tuple(found.table(["share"]).loc["share"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "groups", "albums"))
    parser.add_argument("--wild", type=Path)
    parser.add_argument("--tested", type=Path, required=True)
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--minutes", type=float, default=36)
    parser.add_argument("--epochs", type=int, default=30)
    arguments = parser.parse_args()
    try:
        if arguments.what == "train":
            train(arguments.wild, arguments.tested, NAME, arguments.minutes, arguments.epochs)
        elif arguments.what == "groups":
            groups(arguments.wild, arguments.tested, NAME)
        else:
            albums(arguments.tested, arguments.runs, NAME)
    except FerError as error:
        sys.exit(f"{error.message} {error.hint}")
