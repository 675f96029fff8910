"""Any folder of pictures whose paths say who shows what."""

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Annotated, ClassVar

from annotated_doc import Doc

from fer_cli.corpora.corpus import Corpus
from fer_cli.corpora.named_clips import readable_clip, record_of
from fer_cli.corpora.pattern import PathPattern
from fer_cli.corpora.record import Frame, LeftOut, Reading, Sequence, Still
from fer_cli.corpora.splits import split_named
from fer_cli.corpora.table import REPEATED, rows_of
from fer_cli.corpora.walk import files_below, some_paths, unreadable
from fer_cli.errors import CorpusError, UsageError
from fer_cli.faces.formats import is_picture, is_video
from fer_cli.labels import EXPRESSIONS, expression, folded

#: What a label means that is not to be used; it may be typed so in ``--rename``.
EXCLUDED = "-"

#: A picture and the fields that its path or its row has.
Matched = tuple[Path, dict[str, str]]


@dataclass
class Files(Corpus):
    """A folder whose pictures' paths follow a pattern."""

    name: ClassVar[str] = "files"
    title: ClassVar[str] = "Files"
    # Of frames with labels of their own; other stills have none.
    session_name: ClassVar[str] = "sequence"
    summary: ClassVar[str] = "Any folder of pictures or clips, by a pattern of their paths."
    layout: ClassVar[str] = (
        "--pattern '{label}/{subject}.jpg'            happiness/001.jpg  neutral/001.jpg\n"
        "--pattern '{split}/{label}/*.jpg'            train/anger/a.jpg  test/anger/b.jpg\n"
        "--pattern '{subject}/{label}/{frame}.jpg'    001/anger/0.jpg … 3.jpg\n"
        "--pattern '{label}/{subject}.mp4'            happiness/001.mp4  neutral/001.mp4"
    )
    examples: ClassVar[tuple[str, ...]] = (
        "fer prepare files portraits --pattern '{label}/{subject}.jpg' --rename grinning=happiness --exclude calm",
        "fer prepare files takes --pattern '{subject}/{label}/{frame}.png' --apex-frames 1",
        "fer prepare files corpus --table rows.csv",
    )
    detectable: ClassVar[bool] = False

    pattern: Annotated[
        str | None,
        Doc(
            "The pictures' paths below the folder, with {label} and, where paths say so, {subject}, {sequence}, "
            "{frame} and {split}; * stands for anything else. With {frame} a subject's label (or sequence) is a run of "
            "frames, the first neutral and the last ones the apex, unless labels change within a sequence: then each "
            "frame has its own. Of a clip the middle is the apex, compared with that of its subject's neutral clip."
        ),
    ] = None
    table: Annotated[
        Path | None,
        Doc(
            "Instead of a pattern: a table (CSV, in any encoding that Excel writes) with the columns path (from the "
            "folder) and label, and where they are known subject, sequence, frame and split."
        ),
    ] = None
    rename: Annotated[
        tuple[str, ...], Doc("What a label of the folder means here, such as grinning=happiness. May be given again.")
    ] = ()
    exclude: Annotated[
        tuple[str, ...], Doc("A label of the folder that is not used, such as calm. May be given again.")
    ] = ()

    def __post_init__(self) -> None:
        if (self.pattern is None) == (self.table is None):
            raise UsageError(
                "--pattern or --table: one of them is needed, to say what each picture shows.",
                mend="Such as: --pattern '{label}/{subject}.jpg'",
            )
        if self.pattern is not None:
            PathPattern.parse(self.pattern)
        self._meanings()

    def dataset_name(self, root: Path) -> str:
        """The folder's own name."""
        return root.resolve().name or self.name

    def title_at(self, root: Path) -> str:
        """The folder's own name."""
        return self.dataset_name(root)

    def locate(self, root: Path) -> Path:
        """``root`` itself, if it is a folder."""
        if not root.is_dir():
            raise CorpusError(f"There is no folder {root}.")
        return root

    def read(self, root: Path, *, apex_frames: int = 3) -> Reading:
        """Every picture whose path follows the pattern, as sequences where it has a ``{frame}``, else as stills."""
        reading = Reading()
        meanings = self._meanings()
        if self.table is None:
            matched = self._by_pattern(root, reading)
        else:
            matched = rows_of(self.table, root, reading, lambda label: _meaning(label, meanings) or folded(label))
        reading.found["pictures"] = len(matched) + sum(entry.reason != REPEATED for entry in reading.left_out)
        if not matched:
            raise CorpusError(
                f"No path in {root} follows the pattern {self.pattern}."
                if self.table is None
                else f"No row of {self.table} can be used for pictures in {root}.",
                mend=_what_is_there(root, reading),
            )
        matched = _named(matched, meanings, reading)
        clips = [(path, fields) for path, fields in matched if is_video(path)]
        pictures = [(path, fields) for path, fields in matched if not is_video(path)]
        if any("frame" in fields for _, fields in pictures):
            reading.records = _framed(pictures, apex_frames, reading)
        else:
            reading.records = _stills(pictures)
        if clips:
            _add_clips(clips, root, apex_frames, reading)
        return reading

    def _by_pattern(self, root: Path, reading: Reading) -> list[Matched]:
        pattern = PathPattern.parse(self.pattern)
        matched = []
        for path in files_below(root):
            fields = pattern.match(path.relative_to(root).as_posix())
            if fields is not None:
                if "split" in fields:
                    fields["split"] = split_named(fields["split"], str(path))
                matched.append((path, fields))
            elif is_picture(path) or is_video(path):
                reading.left_out.append(LeftOut(str(path), "does not follow the pattern", fault=False))
        return matched

    def _meanings(self) -> dict[str, str]:
        """What the labels that a person named mean."""
        return dict(map(_renaming, self.rename)) | dict.fromkeys(map(folded, self.exclude), EXCLUDED)


def _named(matched: list[Matched], meanings: dict[str, str], reading: Reading) -> list[Matched]:
    """The same with the vocabulary's labels, :data:`EXCLUDED` among them; ``spelled`` keeps what a label was."""
    named = []
    for path, fields in matched:
        spelling = fields["label"]
        label = _meaning(spelling, meanings)
        if label is None:
            raise CorpusError(
                f"The label '{spelling}' of {path} is not in the vocabulary.",
                mend=f"Type --rename {spelling}=… with one of {', '.join(EXPRESSIONS)}, or --exclude {spelling}.",
            )
        if label == EXCLUDED:
            reading.left_out.append(LeftOut(str(path), f"the label {folded(spelling)} is excluded", fault=False))
        named.append((path, fields | {"label": label, "spelled": spelling}))
    return named


def _meaning(spelling: str, meanings: dict[str, str]) -> str | None:
    return meanings.get(folded(spelling), expression(spelling))


def _stills(matched: list[Matched]) -> list[Still]:
    return [
        Still(Frame(path), fields["label"], fields.get("subject"), fields.get("split"), session=fields.get("take"))
        for path, fields in matched
        if fields["label"] != EXCLUDED
    ]


def _framed(matched: list[Matched], apex_frames: int, reading: Reading) -> list[Sequence] | list[Still]:
    """Sequences, or stills where a label stands for its frame alone."""
    runs = _runs(matched, reading)
    reading.found["sequences"] = len(runs)
    if any(_labels_change(frames) for frames in runs.values()):
        # Then not even a sequence that has but one label goes from neutral to an apex.
        each = ((sequence, frame) for (_, sequence), frames in runs.items() for frame in frames)
        return _stills([(path, fields | {"take": sequence}) for sequence, (path, fields) in each])
    return _sequences(runs, apex_frames, reading)


def _runs(matched: list[Matched], reading: Reading) -> dict[tuple[str, str], list[Matched]]:
    """The frames of each subject and sequence, in order; where no sequence is named, of each subject and label."""
    together: dict[tuple[str, str], list[Matched]] = defaultdict(list)
    for path, fields in matched:
        if "subject" not in fields or "frame" not in fields:
            reading.left_out.append(LeftOut(str(path), "a row of a sequence without its subject or frame"))
        else:
            together[fields["subject"], fields.get("sequence", "")].append((path, fields))
    runs: dict[tuple[str, str], list[Matched]] = defaultdict(list)
    for (subject, sequence), frames in together.items():
        frames.sort(key=lambda entry: (_natural(entry[1]["frame"]), entry[0]))
        apart = _counted_apart(frames) or (not sequence and not _labels_return(frames))
        for path, fields in frames:
            name = [sequence] * bool(sequence) + [fields["spelled"]] * apart
            runs[subject, "-".join(name)].append((path, fields))
    return runs


def _counted_apart(frames: list[Matched]) -> bool:
    """Whether labels count their frames anew: takes of several expressions may all be called 1, and begin at 0."""
    numbers = Counter(number for number, _ in {(fields["frame"], fields["spelled"]) for _, fields in frames})
    return max(numbers.values()) > 1


def _labels_return(frames: list[Matched]) -> bool:
    """Whether a label comes back after another one, which a take from neutral to the apex of one expression cannot."""
    stretches = [label for label, _ in groupby(frames, key=lambda entry: entry[1]["spelled"])]
    return len(stretches) > len(set(stretches))


def _labels_change(frames: list[Matched]) -> bool:
    return len({fields["label"] for _, fields in frames}) > 1


def _sequences(runs: dict[tuple[str, str], list[Matched]], apex_frames: int, reading: Reading) -> list[Sequence]:
    records = []
    for (subject, sequence), frames in runs.items():
        if frames[0][1]["label"] == EXCLUDED:
            continue
        if len(frames) < 2:
            reading.left_out.append(LeftOut(str(frames[0][0]), "a sequence of one frame"))
            continue
        records.append(
            Sequence(
                subject,
                sequence,
                tuple(Frame(path) for path, _ in frames),
                frames[0][1]["label"],
                neutral=0,
                apexes=tuple(range(max(1, len(frames) - apex_frames), len(frames))),
                apex_source=f"last {apex_frames} frames" if apex_frames > 1 else "last frame",
            )
        )
    return records


def _add_clips(clips: list[Matched], root: Path, apex_frames: int, reading: Reading) -> None:
    """Add what videos show: the frames about the middle, of nobody named or of a neutral clip that in the middle."""
    reading.found["clips"] = len(clips)
    reading.found["pictures"] -= len(clips)
    reading.found = +reading.found
    for path, fields in clips:
        if fields["label"] == EXCLUDED:
            continue
        name = "-".join(path.relative_to(root).with_suffix("").parts)
        if "frame" in fields:
            reading.left_out.append(LeftOut(str(path), "a video where a frame's picture was looked for"))
        elif clip := readable_clip(path, fields.get("subject"), name, fields["label"], reading):
            reading.records.append(record_of(clip, apex_frames, fields.get("split")))


def _renaming(text: str) -> tuple[str, str]:
    spelling, equals, label = text.partition("=")
    meant = EXCLUDED if label.strip() == EXCLUDED else expression(label)
    if not spelling.strip() or not equals or meant is None:
        raise UsageError(
            f"--rename {text}: not a renaming.",
            mend=f"Type it like --rename grinning=happiness, with one of {', '.join(EXPRESSIONS)} on the right, or "
            f"{EXCLUDED} for a label that is not used.",
        )
    return folded(spelling), meant


def _natural(text: str) -> list[tuple[bool, int, str, str]]:
    """So that frame 10 comes after frame 2, however many digits there are."""
    key = []
    for part in filter(None, re.split(r"(\d+)", text)):
        digits = part.lstrip("0") if part.isdecimal() else ""
        key.append((part.isdecimal(), len(digits), digits, part))
    return key


def _what_is_there(root: Path, reading: Reading) -> str:
    paths = some_paths(root)
    told = [f"There is, for example: {', '.join(paths)}." if paths else "There is no file in the folder."]
    told += [f"{entry.path} is {entry.reason}." for entry in unreadable(root)[:3]]
    faults = [entry for entry in reading.left_out if entry.fault]
    told += [f"{entry.path}: {entry.reason}." for entry in faults[:3]]
    return "\n".join(told)
