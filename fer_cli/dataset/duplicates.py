"""Pictures and people that two prepared datasets share, also where the pictures were encoded again or resized.

Equal files are found by their SHA-256. For others a perceptual hash proposes pairs: the signs, about their median, of
the lowest 16×16 coefficients of the discrete cosine transform (pHash: Zauner 2010, "Implementation and Benchmarking of
Perceptual Image Hash Functions"). Aligned faces resemble each other, and their hashes do, so that a pair counts only if
the pictures themselves correlate, each pixel less its surroundings' mean and over their deviation, as texture does and
light does not. Both thresholds are set by ``benchmarks/duplicates.py``, on photographs.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations, product
from typing import NamedTuple

import cv2
import numpy as np
from scipy.fft import dctn

from fer_cli.corpora.image_folder import ImageFolder
from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.dataset.schema import MADE_ANEW
from fer_cli.errors import DatasetError
from fer_cli.files import read_bytes
from fer_cli.progress import Progress, silent

#: Pictures are compared in grey at this side, in pixels, and hashed by so many coefficients in each direction.
SIDE, COEFFICIENTS = 32, 16
#: Hashes of 256 bits that differ in more bits than this are of different pictures.
MOST_BITS = 78
#: Pictures that correlate less than this are different pictures, however alike the people.
LEAST_CORRELATION = 0.89
#: Pictures that correlate less than this where they are correlate too little wherever they are moved.
ROUGHLY = 0.6
#: Two alignments of one face differ by a pixel or two of a hundred: the second is moved by so many pixels each way.
SHIFT = 0.5
#: The deviation of the Gaussian that a pixel's surroundings are weighted by, in pixels.
SURROUNDINGS = 3.0
#: The part of the whole picture's deviation that is added to the surroundings', where noise would be all there is.
FLOOR = 0.1
#: A picture that varies less than this, in grey levels, shows nothing.
FLAT = 1.0
#: Pictures of the first and of the second dataset that are compared at a time, and pairs that are correlated.
_ROWS, _COLUMNS, _PAIRS = 512, 4096, 2048
#: So many names are shown in a sentence.
_EXAMPLES = 2


class SharedPicture(NamedTuple):
    """A picture in two datasets, by its file names there; the ``correlation`` is 1 where the files are equal."""

    first: str
    second: str
    correlation: float
    same_bytes: bool


@dataclass(frozen=True)
class SharedPictures:
    """What the datasets called ``first`` and ``second`` share; of one dataset, what it has under two names.

    ``totals`` are how many pictures each has, ``pictures`` every pair of one that is in both, and ``people`` the
    subjects of one name where that is one person's.
    """

    first: str
    second: str
    totals: tuple[int, int]
    pictures: tuple[SharedPicture, ...]
    people: tuple[str, ...] = ()

    @property
    def counts(self) -> tuple[int, int]:
        """How many pictures of the first and of the second are in the other."""
        return len({each.first for each in self.pictures}), len({each.second for each in self.pictures})

    @property
    def by_bytes(self) -> int:
        """How many pictures of the second are in the first as the same file."""
        return len({each.second for each in self.pictures if each.same_bytes})


def shared_pictures(
    datasets: Sequence[PreparedDataset],
    names: Sequence[str] = (),
    *,
    within: bool = False,
    progress: Progress = silent,
) -> list[SharedPictures]:
    """What each two of ``datasets`` share, for those that share anything; the order is theirs.

    And ``within`` each of them the pictures that are there twice, as two people's, or of nobody who is named in two
    parts of the owners' split: whichever way it is divided, a model may be tested on what it was trained on.

    They are called by ``names``, or by their folders'. Crops of different size are compared, and crops with different
    margins by the part that both show. A mirror image is another picture. People are compared by name where
    :func:`same_people` says that a name is one person's. Raises :class:`~fer_cli.errors.DatasetError` if a crop cannot
    be read.
    """
    margins = [each.crop["margin"] for each in datasets if each.crop["detector"] != "none"]
    total, done = sum(len(each.metadata) for each in datasets), 0
    fingerprints = []
    for each in datasets:
        fingerprints.append(_fingerprints(each, min(margins, default=0.0), progress, done, total))
        done += len(each.metadata)
    called = list(names or (each.name for each in datasets))
    found = []
    for own, name, dataset in zip(fingerprints, called, datasets, strict=True) if within else ():
        sides = _sides(dataset)
        twice = [
            pair for pair in _shared(own, own) if pair.first < pair.second and sides[pair.first] != sides[pair.second]
        ]
        if twice:
            found.append(SharedPictures(name, name, (len(own.names),) * 2, tuple(twice)))
    for one, other in combinations(range(len(datasets)), 2):
        pictures = tuple(_shared(fingerprints[one], fingerprints[other]))
        people = _people(datasets[one], datasets[other])
        if pictures or people:
            totals = (len(fingerprints[one].names), len(fingerprints[other].names))
            found.append(SharedPictures(called[one], called[other], totals, pictures, people))
    return found


def describe(findings: Sequence[SharedPictures]) -> str:
    """The findings in sentences, with counts and examples; empty where there are none."""
    sentences = []
    for each in findings:
        if each.first == each.second:
            examples = "; ".join(f"{pair.second} as {pair.first}" for pair in each.pictures[:_EXAMPLES])
            count = len({pair.second for pair in each.pictures})
            sentences.append(
                f"{each.first} has {count} of its {each.totals[0]} pictures twice, as other people's: {examples}."
            )
        elif each.pictures:
            of_first, of_second = each.counts
            alike = of_second - each.by_bytes
            ways = [f"{each.by_bytes} as the same file"] if each.by_bytes else []
            ways += [f"{alike} encoded, resized or aligned otherwise"] if alike else []
            examples = "; ".join(f"{pair.second} as {pair.first}" for pair in each.pictures[:_EXAMPLES])
            sentences.append(
                f"{of_second} of {each.totals[1]} pictures of {each.second} are in {each.first} too "
                f"({of_first} of its {each.totals[0]}), {' and '.join(ways)}: {examples}."
            )
        if each.people:
            names = ", ".join(each.people[:_EXAMPLES]) + (" …" if len(each.people) > _EXAMPLES else "")
            sentences.append(f"{each.first} and {each.second} share {len(each.people)} people: {names}.")
    return " ".join(sentences)


def _sides(dataset: PreparedDataset) -> dict[str, str]:
    """By picture what it is never divided from: its subject, or its part of the owners' split."""
    rows = dataset.metadata
    parts = rows["split"] if "split" in rows else rows["subject"]
    return dict(zip(rows["file_name"], rows["subject"].fillna(parts).fillna(""), strict=True))


def same_people(one: PreparedDataset, other: PreparedDataset) -> bool:
    """Whether a subject's name in both datasets is one person's: they are of one corpus.

    In folders of anybody's pictures ``0001`` is everywhere: of these both must be made of the same folder.
    """
    if one.card["corpus"] != other.card["corpus"]:
        return False
    one, other = one.original, other.original
    roots = [each.card["settings"].get("root") for each in (one, other)]
    return one.card["corpus"] != ImageFolder.name or one.path.samefile(other.path) or None is not roots[0] == roots[1]


def _people(one: PreparedDataset, other: PreparedDataset) -> tuple[str, ...]:
    names = [set(each.metadata["subject"].dropna()) for each in (one, other)]
    return tuple(sorted(names[0] & names[1])) if same_people(one, other) else ()


@dataclass(frozen=True)
class _Fingerprints:
    """N pictures: their names and files' digests, N×4 uint64 of hash, N×:data:`SIDE`×:data:`SIDE` grey levels.

    ``shown`` says which are not flat.
    """

    names: tuple[str, ...]
    digests: tuple[str, ...]
    hashes: np.ndarray
    grey: np.ndarray
    shown: np.ndarray


def _fingerprints(dataset: PreparedDataset, margin: float, progress: Progress, done: int, total: int) -> _Fingerprints:
    names = tuple(dataset.metadata["file_name"])
    grey = np.empty((len(names), SIDE, SIDE), np.float32)
    digests = []
    own = dataset.crop["margin"] if dataset.crop["detector"] != "none" else margin
    for place, name in enumerate(names):
        try:
            content = read_bytes(dataset.path / name)
        except OSError as error:
            reason = error.strerror or error
            raise DatasetError(f"The crop {dataset.path / name} cannot be read: {reason}.", hint=MADE_ANEW) from error
        digests.append(hashlib.sha256(content).hexdigest())
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE) if content else None
        if pixels is None:
            raise DatasetError(f"The crop {dataset.path / name} cannot be read.", hint=MADE_ANEW)
        grey[place] = reduced(pixels, (1 + 2 * margin) / (1 + 2 * own))
        progress("reading pictures", done + place + 1, total)
    return _Fingerprints(names, tuple(digests), perceptual_hash(grey), grey, grey.std(axis=(1, 2)) >= FLAT)


def reduced(pixels: np.ndarray, part: float = 1.0) -> np.ndarray:
    """The middle ``part`` of H×H grey levels, :data:`SIDE` pixels a side."""
    edge = round(len(pixels) * (1 - part) / 2)
    inner = pixels[edge : len(pixels) - edge, edge : len(pixels) - edge]
    method = cv2.INTER_AREA if len(inner) > SIDE else cv2.INTER_LINEAR
    return cv2.resize(inner, (SIDE, SIDE), interpolation=method)


def perceptual_hash(grey: np.ndarray) -> np.ndarray:
    """N×4 uint64: the hash of 256 bits of each of N×S×S grey levels."""
    lowest = dctn(grey, axes=(1, 2), norm="ortho")[:, :COEFFICIENTS, :COEFFICIENTS].reshape(len(grey), -1)
    # The first is the picture's mean.
    bits = lowest > np.median(lowest[:, 1:], axis=1, keepdims=True)
    bits[:, 0] = False
    return np.packbits(bits, axis=1).view(np.uint64)


def normalized(grey: np.ndarray) -> np.ndarray:
    """N×S² unit vectors of N×S×S grey levels: each pixel less its surroundings' mean, over their deviation.

    S is :data:`SIDE`. The surroundings are a Gaussian window; the product of two such vectors is the pictures'
    correlation.
    """
    made = np.empty((len(grey), SIDE * SIDE), np.float32)
    for place, picture in enumerate(grey):
        rest = picture - cv2.GaussianBlur(picture, (0, 0), SURROUNDINGS)
        deviation = np.sqrt(cv2.GaussianBlur(rest * rest, (0, 0), SURROUNDINGS))
        each = (rest / (deviation + FLOOR * picture.std() + 1e-6)).ravel()
        each -= each.mean()
        made[place] = each / max(np.linalg.norm(each), 1e-6)
    return made


def correlations(one: np.ndarray, other: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The correlations (P) of pairs of N×S×S and M×S×S grey levels, the second at the best of nine places.

    ``first`` and ``second`` (P) are the places of each pair's pictures. Those that correlate less than :data:`ROUGHLY`
    without being moved are not moved.
    """
    values = _products(normalized, one, other, first, second)
    near = np.flatnonzero(values >= ROUGHLY)
    for move in _moves():
        moved = _products(partial(_normalized_moved, move=move), one, other, first[near], second[near])
        values[near] = np.maximum(values[near], moved)
    return values


def _products(
    of_second: Callable[[np.ndarray], np.ndarray],
    one: np.ndarray,
    other: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
) -> np.ndarray:
    """The product of each pair's vectors; a picture in several pairs is normalized once."""
    rows, first = np.unique(first, return_inverse=True)
    columns, second = np.unique(second, return_inverse=True)
    left, right = normalized(one[rows]), of_second(other[columns])
    parts = [slice(start, start + _PAIRS) for start in range(0, len(first), _PAIRS)]
    products = [np.einsum("ij,ij->i", left[first[part]], right[second[part]]) for part in parts]
    return np.concatenate(products) if products else np.empty(0, np.float32)


def _moves() -> Iterator[Callable[[np.ndarray], np.ndarray]]:
    """What moves pictures by :data:`SHIFT` in each of eight directions."""
    for down, right in product((-SHIFT, 0.0, SHIFT), repeat=2):
        if down or right:
            yield partial(_moved, matrix=np.array([[1, 0, right], [0, 1, down]], np.float32))


def _normalized_moved(grey: np.ndarray, move: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    return normalized(move(grey))


def _moved(grey: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    made = np.empty_like(grey)
    for place, picture in enumerate(grey):
        made[place] = cv2.warpAffine(picture, matrix, picture.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
    return made


def _shared(one: _Fingerprints, other: _Fingerprints) -> Iterator[SharedPicture]:
    """The pairs of one picture, each once, in the order of the first's."""
    of_digest: dict[str, list[int]] = {}
    for place, digest in enumerate(other.digests):
        of_digest.setdefault(digest, []).append(place)
    found = {
        (place, match): SharedPicture(one.names[place], other.names[match], 1.0, True)
        for place, digest in enumerate(one.digests)
        for match in of_digest.get(digest, ())
    }
    for first, second in _candidates(one, other):
        values = correlations(one.grey, other.grey, first, second)
        for at in np.flatnonzero(values >= LEAST_CORRELATION):
            key = int(first[at]), int(second[at])
            pair = SharedPicture(one.names[key[0]], other.names[key[1]], min(float(values[at]), 1.0), False)
            found.setdefault(key, pair)
    yield from (found[key] for key in sorted(found))


def _candidates(one: _Fingerprints, other: _Fingerprints) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The places of the pairs whose hashes differ in at most :data:`MOST_BITS` bits, block by block."""
    rows, columns = np.flatnonzero(one.shown), np.flatnonzero(other.shown)
    for top in range(0, len(rows), _ROWS):
        part = rows[top : top + _ROWS]
        for left in range(0, len(columns), _COLUMNS):
            against = columns[left : left + _COLUMNS]
            bits = np.zeros((len(part), len(against)), np.uint16)
            for word in range(one.hashes.shape[1]):
                bits += np.bitwise_count(one.hashes[part, None, word] ^ other.hashes[None, against, word])
            first, second = np.nonzero(bits <= MOST_BITS)
            if len(first):
                yield part[first], against[second]
