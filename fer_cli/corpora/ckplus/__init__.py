"""The Extended Cohn-Kanade corpus, CK+ (Lucey et al., CVPR Workshops 2010), and CK (Kanade, Cohn & Tian, FG 2000).

593 sequences of 123 subjects, from neutral to the apex; 327 sequences of 118 subjects have an emotion label.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fer_cli.corpora.ckplus.mirrors import cropped_mirror, explain, read_cropped_mirror
from fer_cli.corpora.ckplus.names import CODES, FRAME, LABEL_SUFFIX, LANDMARKS_SUFFIX
from fer_cli.corpora.ckplus.tree import Tree, find_tree
from fer_cli.corpora.ckplus.zips import find_zips, unpack, unpack_others
from fer_cli.corpora.corpus import Corpus
from fer_cli.corpora.record import Frame, LeftOut, Reading, Sequence
from fer_cli.corpora.walk import children, folders_in, is_dir
from fer_cli.errors import CorpusError
from fer_cli.files import read_bytes
from fer_cli.progress import Progress, silent

#: A label file holds sixteen bytes; one that is much larger is something else.
MAX_LABEL_BYTES = 1024
#: Sequences have at most 71 frames, counted from 1; a larger first number is a time code.
FIRST_TIME_CODE = 1000


@dataclass(frozen=True)
class CKPlus(Corpus):
    """CK+ as its owners ship it: unzipped in any of the usual nestings, or still in its zips."""

    name: ClassVar[str] = "ckplus"
    title: ClassVar[str] = "CK+"
    summary: ClassVar[str] = "Extended Cohn-Kanade (CK+) and the original CK, unzipped or in their zips."
    layout: ClassVar[str] = (
        "cohn-kanade-images/S005/001/S005_001_00000011.png …\n"
        "Emotion/S005/001/S005_001_00000011_emotion.txt\n"
        "Landmarks/S005/001/S005_001_00000011_landmarks.txt …"
    )
    promises: ClassVar[Mapping[str, int]] = {"sequences": 593, "labelled": 327, "subjects": 123}
    classes: ClassVar[str] = "7-contempt"
    apex_frames: ClassVar[int] = 3
    folds: ClassVar[int] = 10
    fold_rule: ClassVar[str] = "id-step"
    examples: ClassVar[tuple[str, ...]] = (
        "fer prepare ckplus ~/corpora/CK+",
        "fer prepare ckplus ~/corpora/CK+ --classes 6 --out data/ckplus-6",
        "fer prepare ckplus ~/corpora/CK+ --classes 8 --out data/ckplus-8",
    )

    def make(self, root: Path, progress: Progress = silent) -> None:
        """Unpack the owners' zips, beside them, where what they hold is not there yet; then any others."""
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
            reading.left_out.append(LeftOut(str(path), "another copy of the pictures (counted once)", fault=False))
        labels = _labels(tree.emotion, reading)
        for folder in _sequence_folders(tree.images):
            subject, number = folder.parent.name, folder.name
            frames = _frames(folder, tree, reading)
            reading.found["sequences"] += 1
            label = _label_of(frames, labels.pop((subject, number), []), reading)
            reading.found["labelled"] += label is not None
            if len(frames) < 2:
                reading.left_out.append(LeftOut(str(folder), "a sequence of fewer than two frames"))
                continue
            reading.records.append(
                Sequence(
                    subject,
                    number,
                    frames,
                    label,
                    neutral=0,
                    apexes=tuple(range(max(1, len(frames) - apex_frames), len(frames))),
                    apex_source=f"last {apex_frames} frames" if apex_frames > 1 else "last frame",
                )
            )
        for files in labels.values():
            reading.left_out += [LeftOut(str(path), "a label without pictures") for path in files]
        return reading


def _sequence_folders(folder: Path) -> list[Path]:
    return [sequence for subject in folders_in(folder) for sequence in folders_in(subject)]


def _frames(folder: Path, tree: Tree, reading: Reading) -> tuple[Frame, ...]:
    """The frames in the order of their numbers, which in the original CK are time codes."""
    marks: set[str] = set()
    points = None if tree.landmarks is None else tree.landmarks / folder.parent.name / folder.name
    if points is not None and is_dir(points):
        marks = {path.name for path in children(points)}
    frames = []
    for path in children(folder):
        if is_dir(path):
            continue
        if not FRAME.fullmatch(path.name) or not path.name.startswith(f"{folder.parent.name}_{folder.name}_"):
            reading.left_out.append(LeftOut(str(path), "a file that is no frame of its sequence"))
            continue
        mark = f"{path.stem}{LANDMARKS_SUFFIX}"
        frames.append(Frame(path, points / mark if mark in marks else None))
    numbers = [int(FRAME.fullmatch(frame.path.name)[3]) for frame in frames]
    # Time codes, in the original CK, begin high and leave numbers out by themselves.
    if numbers and numbers[0] < FIRST_TIME_CODE and numbers[-1] - numbers[0] + 1 > len(numbers):
        reading.left_out.append(LeftOut(str(folder), "frames missing in the middle (the sequence is used)"))
    return tuple(frames)


def _labels(folder: Path, reading: Reading) -> dict[tuple[str, str], list[Path]]:
    """The label files of each subject and sequence; an empty or absent folder is no label."""
    found: dict[tuple[str, str], list[Path]] = {}
    for sequence in _sequence_folders(folder):
        for path in children(sequence):
            if path.name.endswith(LABEL_SUFFIX):
                found.setdefault((sequence.parent.name, sequence.name), []).append(path)
            else:
                reading.left_out.append(LeftOut(str(path), "a file that is no label"))
    return found


def _label_of(frames: tuple[Frame, ...], files: list[Path], reading: Reading) -> str | None:
    """The sequence's label, from the one file that is named after one of its frames."""
    named = {frame.path.stem for frame in frames}
    ours = [path for path in files if path.name.removesuffix(LABEL_SUFFIX) in named]
    strangers = [path for path in files if path not in ours]
    reading.left_out += [LeftOut(str(path), "a label that names no frame of its sequence") for path in strangers]
    codes = [code for path in ours if (code := _code(path, reading)) is not None]
    if len(set(codes)) > 1:
        reading.left_out += [LeftOut(str(path), "one of several labels for a sequence") for path in ours]
        return None
    return codes[0] if codes else None


def _code(path: Path, reading: Reading) -> str | None:
    """The expression that a label file names; None for an empty one, and for one without a number."""
    try:
        text = read_bytes(path, MAX_LABEL_BYTES).decode("ascii").strip()
        number = float(text or "nan")
    except OSError:
        reading.left_out.append(LeftOut(str(path), "a label file that cannot be read"))
        return None
    except ValueError:
        reading.left_out.append(LeftOut(str(path), "a label file that holds no number"))
        return None
    if not text:
        return None
    if number not in CODES:
        raise CorpusError(
            f"The label file {path} holds no code of CK+.",
            hint="A code is one number, such as 3.0000000e+00: "
            + ", ".join(f"{code} {name}" for code, name in CODES.items())
            + ".",
        )
    return CODES[int(number)]
