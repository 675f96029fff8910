"""Pictures that two datasets share: how many copies are found, how many other pictures are taken for copies, how soon.

    python benchmarks/duplicates.py DATA DATA [DATA …] [--most N]

``DATA`` are prepared datasets of different photographs. Of each, copies are made: encoded as JPEG of quality 50 to 90,
resized to 0.5 to 1.5 times their side, moved, turned and scaled by up to 2 % as another alignment would, and all of it.
Recall is the share of the copies that are found by the hash, by the correlation, and by both, with the Clopper-Pearson
interval. False alarms are pairs of *different people* that are found, within and between the datasets: pairs within one
subject can be copies, and so can those within a dataset that names nobody. Last, each dataset is compared with the next
one into which copies of 5 % of its pictures were put. ``--most`` takes so many pictures of each at most.
"""

import argparse
import time
from collections.abc import Callable
from itertools import combinations_with_replacement
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import pandas as pd
from scipy.stats import beta

from fer_cli.dataset import duplicates
from fer_cli.dataset.duplicates import correlations, describe, perceptual_hash, shared_pictures
from fer_cli.dataset.prepared import PreparedDataset

SHARE = 0.05


def jpeg(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Encoded as JPEG of quality 50 to 90."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(50, 91))]
    return cv2.imdecode(cv2.imencode(".jpg", picture, quality)[1], cv2.IMREAD_GRAYSCALE)


def resized(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Resized to 0.5 to 1.5 times its side."""
    factor = rng.uniform(0.5, 1.5)
    side = round(len(picture) * factor)
    return cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)


def aligned(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Moved and scaled by up to 2 % of the side, and turned by up to a degree."""
    side = len(picture)
    matrix = cv2.getRotationMatrix2D((side / 2, side / 2), rng.uniform(-1, 1), 1 + rng.uniform(-0.02, 0.02))
    matrix[:, 2] += rng.uniform(-0.02, 0.02, 2) * side
    return cv2.warpAffine(picture, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)


def everything(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Aligned otherwise, resized and encoded."""
    return jpeg(resized(aligned(picture, rng), rng), rng)


KINDS: tuple[Callable[[np.ndarray, np.random.Generator], np.ndarray], ...] = (jpeg, resized, aligned, everything)


def interval(found: int, of: int) -> str:
    """A share with its 95 % Clopper-Pearson interval."""
    low = beta.ppf(0.025, found, of - found + 1) if found else 0.0
    high = beta.ppf(0.975, found + 1, of - found) if found < of else 1.0
    return f"{found / of:.4%} [{low:.4%}, {high:.4%}] of {of}"


def read(dataset: PreparedDataset, most: int) -> tuple[list[np.ndarray], pd.DataFrame]:
    """The first ``most`` crops in grey, and their rows."""
    rows = dataset.metadata.head(most).reset_index(drop=True)
    return [cv2.imread(str(dataset.path / name), cv2.IMREAD_GRAYSCALE) for name in rows["file_name"]], rows


def compared(pictures: list[np.ndarray]) -> np.ndarray:
    """The pictures as they are compared."""
    return np.stack([duplicates.reduced(each) for each in pictures]).astype(np.float32)


def recall(pictures: list[np.ndarray]) -> None:
    """Print how many copies of every kind are found."""
    grey = compared(pictures)
    hashes = perceptual_hash(grey)
    for kind in KINDS:
        rng = np.random.default_rng(0)
        copies = compared([kind(each, rng) for each in pictures])
        bits = np.bitwise_count(hashes ^ perceptual_hash(copies)).sum(axis=1)
        each = np.arange(len(grey))
        values = correlations(grey, copies, each, each)
        hashed, alike = bits <= duplicates.MOST_BITS, values >= duplicates.LEAST_CORRELATION
        print(f"  {kind.__name__:<12} both {interval(int((hashed & alike).sum()), len(grey))}")
        print(
            f"  {'':<12} hash {hashed.mean():.4%}, most bits {bits.max()}; correlation {alike.mean():.4%}, "
            f"0.1 % quantile {np.quantile(values, 0.001):.3f}, least {values.min():.3f}"
        )


def false_alarms(names: list[str], pictures: list[list[np.ndarray]], rows: list[pd.DataFrame]) -> None:
    """Print the pairs that are found within and between the datasets."""
    prints = [
        duplicates._Fingerprints(
            tuple(table["file_name"]), ("",) * len(table), perceptual_hash(grey), grey, grey.std(axis=(1, 2)) > 1
        )
        for table, grey in zip(rows, map(compared, pictures), strict=True)
    ]
    for one, other in combinations_with_replacement(range(len(names)), 2):
        begin = time.process_time()
        if one == other and rows[one]["subject"].isna().all():
            continue
        subjects = [rows[place]["subject"].fillna("").to_numpy(str) for place in (one, other)]
        found = proposed = 0
        highest, examples = 0.0, []
        for first, second in duplicates._candidates(prints[one], prints[other]):
            apart = first < second if one == other else np.ones(len(first), bool)
            first, second = first[apart], second[apart]
            if not len(first):
                continue
            proposed += len(first)
            values = correlations(prints[one].grey, prints[other].grey, first, second)
            same = (subjects[0][first] == subjects[1][second]) & (subjects[0][first] != "")
            alarms = (values >= duplicates.LEAST_CORRELATION) & ~same
            found += int(alarms.sum())
            below = values[~same & ~alarms]
            highest = max(highest, below.max(initial=0.0))
            places = zip(first[alarms], second[alarms], strict=True)
            examples += [(prints[one].names[place], prints[other].names[match]) for place, match in places]
        seconds = time.process_time() - begin
        count = len(rows[one]) * (len(rows[one]) - 1) // 2 if one == other else len(rows[one]) * len(rows[other])
        print(
            f"  {names[one]} × {names[other]}: {interval(found, count)} pairs; {proposed} proposed by the hash; "
            f"highest correlation below the threshold {highest:.3f}; {seconds:.1f} s of processor time"
        )
        for pair in examples[:8]:
            print(f"    {pair[0]} and {pair[1]}")


def found_out(one: PreparedDataset, other: PreparedDataset, most: int, folder: Path) -> None:
    """Compare ``one`` with a dataset of the pictures of ``other`` and of copies of 5 % of the first's."""
    pictures, rows = read(one, most)
    rng = np.random.default_rng(1)
    chosen = rng.choice(len(pictures), round(SHARE * len(pictures)), replace=False)
    size = other.crop["size"]
    metadata = other.metadata.head(most)
    names = [f"copy-{place}.png" for place in chosen]
    for name, place in zip(names, chosen, strict=True):
        cv2.imwrite(str(folder / name), cv2.resize(everything(pictures[place], rng), (size, size)))
    (folder / "images").symlink_to((other.path / "images").resolve())
    copies = pd.DataFrame({"file_name": names, "subject": pd.NA})
    mixed = PreparedDataset(folder, other.card, pd.concat([metadata, copies], ignore_index=True))
    begin = time.process_time()
    shared = shared_pictures([PreparedDataset(one.path, one.card, rows), mixed])
    seconds = time.process_time() - begin
    pairs = {(each.first, each.second) for finding in shared for each in finding.pictures}
    right = {(rows["file_name"][place], name) for place, name in zip(chosen, names, strict=True)}
    count = len(rows) + len(mixed.metadata)
    print(
        f"  {one.name} in {other.name}: {interval(len(pairs & right), len(right))} copies found, "
        f"{len(pairs - right)} other pairs; {seconds:.1f} s of processor time, "
        f"{1e4 * seconds / count:.1f} s for 10,000 pictures"
    )
    print(f"    {describe(shared)}")


def main() -> None:
    """Measure it all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", type=Path)
    parser.add_argument("--most", type=int, default=1_000_000)
    options = parser.parse_args()
    datasets = [PreparedDataset.open(path) for path in options.data]
    pictures, rows = zip(*(read(each, options.most) for each in datasets), strict=True)
    for dataset, own in zip(datasets, pictures, strict=True):
        print(f"recall on {dataset.name}, {len(own)} pictures")
        recall(own)
    print("false alarms: pairs of different people")
    false_alarms([each.name for each in datasets], list(pictures), list(rows))
    print("copies of 5 % of a dataset in another")
    for one, other in zip(datasets, datasets[1:] + datasets[:1], strict=True):
        with TemporaryDirectory() as folder:
            found_out(one, other, options.most, Path(folder))


if __name__ == "__main__":
    main()
