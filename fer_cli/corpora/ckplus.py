"""The Extended Cohn-Kanade corpus, CK+ (Lucey et al., CVPR Workshops 2010), and CK (Kanade, Cohn & Tian, FG 2000).

593 sequences of 123 subjects, from neutral to the apex; 327 sequences of 118 subjects have an emotion label. On users'
disks its parts are nested in many ways (``Emotion_labels/Emotion``, ``Landmarks/Landmarks``): a folder is recognised by
what is in it, not by its name.
"""

import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from fer_cli.corpora import io
from fer_cli.corpora.base import Corpus, Frame, Reading, Sequence, Still, Terms, spelled
from fer_cli.corpora.io import children, folders_below, folders_in, is_dir, what_is_there
from fer_cli.errors import CorpusError
from fer_cli.files import Entered, read_bytes
from fer_cli.labels import expression
from fer_cli.progress import Progress, silent

#: A label file holds sixteen bytes; one that is much larger is something else.
MAX_LABEL_BYTES = 1024
#: Sequences have at most 71 frames, counted from 1; a larger first number is a time code.
FIRST_TIME_CODE = 1000
#: The numbers in a label file.
CODES = dict(enumerate(("neutral", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")))

LABEL_SUFFIX = "_emotion.txt"
LANDMARKS_SUFFIX = "_landmarks.txt"
FACS_SUFFIX = "_facs.txt"

#: ``S005_001_00000011.png``; in the original CK the last number is a time code, ``S010_001_01594215.png``.
FRAME = re.compile(r"(S\d{3})_(\d{3})_(\d+)\.png", re.IGNORECASE)
SUBJECT = re.compile(r"S\d{3}", re.IGNORECASE)
SEQUENCE = re.compile(r"\d{3}")
#: A member's path, of which only the owners' own names are kept.
MEMBER = re.compile(r"(?:.*/)?(S\d{3})/(\d{3})/(S\d{3}_\d{3}_[^/\\]+)", re.IGNORECASE)
#: How far below the given folder to look, and into how many folders at most: a home folder typed by mistake should
#: not be searched for minutes.
MAX_DEPTH, MAX_FOLDERS = 5, 5000
#: How many sequences of a folder, and members of a zip, are examined to tell what it holds; many have an empty folder
#: for a label.
MAX_SEQUENCES, MAX_MEMBERS = 700, 100_000


def kind_of(name: str) -> str | None:
    """Kind of a file, by its name: ``images``, ``emotion``, ``landmarks``, ``facs``, or none of these."""
    if FRAME.fullmatch(name):
        return "images"
    for suffix, kind in ((LABEL_SUFFIX, "emotion"), (LANDMARKS_SUFFIX, "landmarks"), (FACS_SUFFIX, "facs")):
        if name.endswith(suffix) and not name.startswith("."):
            return kind
    return None


@dataclass(frozen=True, slots=True)
class Tree:
    """The folders whose children are subjects, or None for what there is not."""

    images: Path | None = None
    emotion: Path | None = None
    landmarks: Path | None = None
    facs: Path | None = None
    #: Further folders of pictures, of which the nearest is read.
    copies: tuple[Path, ...] = ()
    #: A folder of subjects and sequences without a file in it.
    empty: Path | None = field(default=None, compare=False)


@dataclass(frozen=True)
class CKPlus(Corpus):
    """CK+ as its owners ship it: unzipped in any of the usual nestings, or still in its zips."""

    name: ClassVar[str] = "ckplus"
    title: ClassVar[str] = "CK+"
    summary: ClassVar[str] = "Extended Cohn-Kanade (CK+) and the original CK, unzipped or in their zips."
    terms: ClassVar[Terms] = Terms(
        "Affect Analysis Group, University of Pittsburgh",
        "research only, by agreement; few subjects may be printed",
        "https://www.jeffcohn.net/Resources/",
    )
    layout: ClassVar[str] = (
        "cohn-kanade-images/S005/001/S005_001_00000011.png …\n"
        "Emotion/S005/001/S005_001_00000011_emotion.txt\n"
        "Landmarks/S005/001/S005_001_00000011_landmarks.txt …"
    )
    promises: ClassVar[Mapping[str, int]] = {"sequences": 593, "labelled": 327, "subjects": 123}
    classes: ClassVar[str] = "7-contempt"
    examples: ClassVar[tuple[str, ...]] = (
        "fer prepare ckplus ~/corpora/CK+",
        "fer prepare ckplus ~/corpora/CK+ --classes 6 --out data/ckplus-6",
        "fer prepare ckplus ~/corpora/CK+ --classes 8 --out data/ckplus-8",
    )

    def make(self, root: Path, progress: Progress = silent) -> None:
        """Unpack the owners' zips whose content is not there yet, next to them; then any others."""
        if not root.is_dir() or cropped_mirror(root) is not None:
            return
        zips = find_zips(root)
        unpack(root, zips, find_tree(root), progress)
        tree = find_tree(root)
        if tree.images is None or tree.emotion is None:
            unpack_others(root, zips, progress)

    def locate(self, root: Path) -> Path:
        """``root``, if pictures and labels in CK+'s layout are anywhere below it, unzipped or not."""
        if not root.is_dir():
            raise CorpusError(f"There is no folder {root}.", hint="Type the folder that CK+ was unzipped into.")
        tree, zips = find_tree(root), find_zips(root)
        if tree.images is None and "images" not in zips:
            if cropped_mirror(root) is not None:
                return root
            raise CorpusError(
                f"{root} is not CK+: {explain(root)}", hint=f"What is looked for, at any depth:\n{self.layout}"
            )
        if tree.emotion is None and "emotion" not in zips:
            raise CorpusError(
                f"{root} has CK+'s pictures, and no emotion label was found in it.",
                hint="The labels are a download of their own, Emotion_labels.zip: put it, or the folder Emotion, in "
                f"{root}.",
            )
        return root

    def read(self, root: Path, *, apex_frames: int = 3) -> Reading:
        """Every sequence, labelled or not: the first frame neutral, the last ``apex_frames`` the apex.

        The mirror CK+48 gives stills. Raises :class:`~fer_cli.errors.CorpusError` for a label that is no code of CK+.
        """
        tree, mirror = find_tree(root), cropped_mirror(root)
        if tree.images is None and mirror is not None:
            return read_cropped_mirror(mirror)
        if tree.images is None or tree.emotion is None:
            raise CorpusError(f"The zips in {root} are not unpacked yet.", hint="fer prepare without --check does it.")
        reading = Reading()
        for path in tree.copies:
            reading.skip(path, "another copy of the pictures (counted once)", fault=False)
        labels = _labels(tree.emotion, reading)
        for folder in _sequence_folders(tree.images):
            subject, number = folder.parent.name, folder.name
            frames = _frames(folder, tree, reading)
            reading.found["sequences"] += 1
            label = _label_of(frames, labels.pop((subject, number), []), reading)
            reading.found["labelled"] += label is not None
            if len(frames) < 2:
                reading.skip(folder, "a sequence of fewer than two frames")
                continue
            reading.records.append(Sequence.from_neutral_to_apex(subject, number, frames, label, apex_frames))
        for path in (path for files in labels.values() for path in files):
            reading.skip(path, "a label without pictures")
        return reading


def _sequence_folders(folder: Path) -> list[Path]:
    return [sequence for subject in folders_in(folder) for sequence in folders_in(subject)]


def _frames(folder: Path, tree: Tree, reading: Reading) -> tuple[Frame, ...]:
    """The frames in the order of their numbers, which in the original CK are time codes."""
    marks: set[str] = set()
    points = None if tree.landmarks is None else tree.landmarks / folder.parent.name / folder.name
    if points is not None and is_dir(points):
        marks = {path.name for path in children(points)}
    frames, numbers = [], []
    for path in children(folder):
        if is_dir(path):
            continue
        named = FRAME.fullmatch(path.name)
        if named is None or not path.name.startswith(f"{folder.parent.name}_{folder.name}_"):
            reading.skip(path, "a file that is no frame of its sequence")
            continue
        mark = f"{path.stem}{LANDMARKS_SUFFIX}"
        frames.append(Frame(path, points / mark if points is not None and mark in marks else None))
        numbers.append(int(named[3]))
    # Time codes, in the original CK, begin high and skip numbers.
    if numbers and numbers[0] < FIRST_TIME_CODE and numbers[-1] - numbers[0] + 1 > len(numbers):
        reading.skip(folder, "frames missing in the middle (the sequence is used)")
    return tuple(frames)


def _labels(folder: Path, reading: Reading) -> dict[tuple[str, str], list[Path]]:
    """The label files of each subject and sequence; an empty or absent folder is no label."""
    found: dict[tuple[str, str], list[Path]] = {}
    for sequence in _sequence_folders(folder):
        for path in children(sequence):
            if path.name.endswith(LABEL_SUFFIX):
                found.setdefault((sequence.parent.name, sequence.name), []).append(path)
            else:
                reading.skip(path, "a file that is no label")
    return found


def _label_of(frames: tuple[Frame, ...], files: list[Path], reading: Reading) -> str | None:
    """The sequence's label, from the one file that is named after one of its frames."""
    named = {frame.path.stem for frame in frames}
    ours = [path for path in files if path.name.removesuffix(LABEL_SUFFIX) in named]
    for path in files:
        if path not in ours:
            reading.skip(path, "a label that names no frame of its sequence")
    codes = [code for path in ours if (code := _code(path, reading)) is not None]
    if len(set(codes)) > 1:
        for path in ours:
            reading.skip(path, "one of several labels for a sequence")
        return None
    return codes[0] if codes else None


def _code(path: Path, reading: Reading) -> str | None:
    """The expression that a label file names; None for an empty one, and for one without a number."""
    try:
        text = read_bytes(path, MAX_LABEL_BYTES).decode("ascii").strip()
        number = float(text or "nan")
    except OSError:
        reading.skip(path, "a label file that cannot be read")
        return None
    except ValueError:
        reading.skip(path, "a label file that holds no number")
        return None
    if not text:
        return None
    if number not in CODES:
        raise CorpusError(
            f"The label file {path} holds no code of CK+.",
            hint=f"A code is one number, such as 3.0000000e+00: {spelled(CODES)}.",
        )
    return CODES[int(number)]


def find_tree(root: Path) -> Tree:
    """The parts of CK+ at or below ``root``; of two of a kind the nearer."""
    tree = Tree()
    for folder in _subject_folders(root):
        kind = _peek(folder) or "empty"
        if getattr(tree, kind) is None:
            parts: dict[str, Any] = {kind: folder}
            tree = replace(tree, **parts)
        elif kind == "images":
            tree = replace(tree, copies=(*tree.copies, folder))
    if tree.emotion is None and tree.empty is not None and "emotion" in tree.empty.name.lower():
        tree = replace(tree, emotion=tree.empty)
    return tree


def _subject_folders(root: Path) -> Iterator[Path]:
    """The folders at or below ``root`` with children called S005 and the like, the nearest first."""
    entered = Entered(root)
    level = [root] if entered.enter(root) else []
    examined = 0
    for _ in range(MAX_DEPTH):
        below: list[Path] = []
        for folder in level:
            examined += 1
            below_it = folders_in(folder)
            if any(SUBJECT.fullmatch(child.name) for child in below_it):
                yield folder
            else:
                below += [child for child in below_it if entered.enter(child)]
            if examined >= MAX_FOLDERS:
                return
        level = below


def _peek(folder: Path) -> str | None:
    """Kind of the files in the sequences of ``folder``."""
    sequences = (
        sequence
        for subject in folders_in(folder)
        if SUBJECT.fullmatch(subject.name)
        for sequence in folders_in(subject)
        if SEQUENCE.fullmatch(sequence.name)
    )
    for sequence in islice(sequences, MAX_SEQUENCES):
        for path in children(sequence):
            if kind := kind_of(path.name):
                return kind
    return None


def find_zips(root: Path) -> dict[str, Path]:
    """The zips at ``root`` or in a folder of it, by what they hold: ``images``, ``emotion`` and so on."""
    found: dict[str, Path] = {}
    for path in sorted([*root.glob("*.zip"), *root.glob("*/*.zip")]):
        try:
            with zipfile.ZipFile(path) as file:
                kinds = (_kind(info.filename) for info in file.infolist()[:MAX_MEMBERS])
                kind = next((kind for kind in kinds if kind), None)
        except (OSError, *io.BROKEN):
            continue
        if kind:
            found.setdefault(kind, path)
    return found


def unpack(root: Path, zips: dict[str, Path], tree: Tree, progress: Progress) -> None:
    """Unpack the ``zips`` whose kind ``tree`` lacks; raises what :func:`fer_cli.corpora.io.unpack` raises."""
    for kind, path in zips.items():
        if kind != "facs" and getattr(tree, kind) is None:
            io.unpack(path, root / io.UNPACKED / kind, _place, progress)


def unpack_others(root: Path, zips: dict[str, Path], progress: Progress) -> None:
    """Unpack the archives in ``root`` that are not among the ``zips``: a mirror, or the owners' in another form."""
    for path in io.archives_in(root):
        if path not in zips.values():
            io.unpack(path, io.target_of(path), io.inside, progress)


def _kind(name: str) -> str | None:
    match = MEMBER.fullmatch(name)
    return kind_of(match[3]) if match else None


def _place(name: str) -> Path | None:
    match = MEMBER.fullmatch(name)
    return Path(*match.groups()) if match and kind_of(match[3]) else None


def cropped_mirror(root: Path) -> Path | None:
    """The folder at or below ``root`` that is ``CK+48``: ``anger/S010_004_00000017.png``, grey, 48×48."""
    if not root.is_dir():
        return None
    for folder in islice(folders_below(root, MAX_DEPTH), MAX_FOLDERS):
        angry = [each for each in folders_in(folder) if expression(each.name) == "anger"]
        if any(FRAME.fullmatch(path.name) for each in angry for path in children(each)):
            return folder
    return None


def read_cropped_mirror(folder: Path) -> Reading:
    """The pictures of ``CK+48`` as stills: apexes whose subject is in their name, without any neutral face."""
    reading = Reading()
    for path in (path for each in folders_in(folder) for path in children(each)):
        label = expression(path.parent.name)
        match = FRAME.fullmatch(path.name)
        if match and label is not None:
            reading.found["pictures"] += 1
            reading.records.append(Still(Frame(path), label, match[1].upper()))
        else:
            reading.skip(path, "neither a picture of CK+48 nor in a class's folder")
    return reading


def explain(root: Path) -> str:
    """Description of what is at ``root`` instead of CK+."""
    tables = sorted(path.name for path in root.glob("*.csv") if "ck" in path.name.lower())
    if tables:
        return (
            f"{tables[0]} is a table of 48×48 pixels that does not say who is shown, so that no subject-independent "
            "fold can be made of it, and any number from it may be that of faces seen in training."
        )
    return f"{what_is_there(root)}."
