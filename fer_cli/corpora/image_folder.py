"""Image folder: any pictures or clips whose paths, or a table, give label, subject, sequence and split."""

import re
import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Annotated, ClassVar

from annotated_doc import Doc

from fer_cli.corpora.base import Corpus, Frame, Reading, Sequence, Still, Terms
from fer_cli.corpora.io import files_below, split_named, unreadable
from fer_cli.corpora.layouts import REPEATED, add_clip, rows_of
from fer_cli.errors import CorpusError, UsageError
from fer_cli.faces.formats import is_picture, is_video
from fer_cli.labels import EXPRESSIONS, expression, folded
from fer_cli.options import Panel

#: What a label means that is not to be used; it may be typed so in ``--rename``.
EXCLUDED = "-"

#: A picture and the fields that its path or its row has.
Matched = tuple[Path, dict[str, str]]
#: The fields of a pattern, and what stands for any other text.
FIELDS = ("label", "subject", "sequence", "frame", "split")
STAR = "*"
_PANEL = Panel("Input")


@dataclass
class ImageFolder(Corpus):
    """A folder whose pictures' paths follow a pattern."""

    name: ClassVar[str] = "files"
    title: ClassVar[str] = "Files"
    # Of frames with labels of their own; other stills have none.
    session_name: ClassVar[str] = "sequence"
    summary: ClassVar[str] = "Any folder of pictures or clips, by a pattern of their paths."
    terms: ClassVar[Terms] = Terms(
        "whoever prepared it",
        "as its pictures were got; not known to fer",
        "",
        weights="not known to fer; ask whose pictures they are",
    )
    layout: ClassVar[str] = (
        "--pattern '{label}/{subject}.jpg'         happiness/001.jpg  neutral/001.jpg\n"
        "--pattern '{split}/{label}/*.jpg'         train/anger/a.jpg  test/anger/b.jpg\n"
        "--pattern '{subject}/{label}/{frame}.jpg' 001/anger/0.jpg … 3.jpg\n"
        "--pattern '{label}/{subject}.mp4'         happiness/001.mp4  neutral/001.mp4"
    )
    examples: ClassVar[tuple[str, ...]] = (
        "fer prepare files portraits --pattern '{label}/{subject}.jpg' --rename grinning=happiness --exclude calm",
        "fer prepare files takes --pattern '{subject}/{label}/{frame}.png' --apex-frames 1",
        "fer prepare files corpus --table rows.csv",
    )
    detectable: ClassVar[bool] = False

    pattern: Annotated[
        str | None,
        Doc("Pattern of the paths below the folder: {label}, {subject}, {sequence}, {frame}, {split}; * for the rest."),
        _PANEL,
    ] = None
    table: Annotated[
        Path | None, Doc("CSV instead of a pattern: path, label, subject, sequence, frame, split."), _PANEL
    ] = None
    rename: Annotated[
        tuple[str, ...], Doc("The meaning of a label, such as grinning=happiness; repeatable."), _PANEL
    ] = ()
    exclude: Annotated[tuple[str, ...], Doc("A label that is not used, such as calm; repeatable."), _PANEL] = ()

    def __post_init__(self) -> None:
        if (self.pattern is None) == (self.table is None):
            raise UsageError(
                "--pattern or --table: one of them is needed, to say what each picture shows.",
                hint="Such as: --pattern '{label}/{subject}.jpg'",
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
        reading.found["pictures"] = len(matched) + sum(entry.reason != REPEATED for entry in reading.skipped)
        if not matched:
            raise CorpusError(
                f"No path in {root} follows the pattern {self.pattern}."
                if self.table is None
                else f"No row of {self.table} can be used for pictures in {root}.",
                hint=_what_is_there(root, reading),
            )
        matched = _named(matched, meanings, reading)
        clips = [(path, fields) for path, fields in matched if is_video(path)]
        pictures = [(path, fields) for path, fields in matched if not is_video(path)]
        if any("frame" in fields for _, fields in pictures):
            reading.records = [*_framed(pictures, apex_frames, reading)]
        else:
            reading.records = [*_stills(pictures)]
        if clips:
            _add_clips(clips, root, apex_frames, reading)
        return reading

    def _by_pattern(self, root: Path, reading: Reading) -> list[Matched]:
        pattern = PathPattern.parse(self.pattern or "")
        matched = []
        for path in files_below(root):
            fields = pattern.match(path.relative_to(root).as_posix())
            if fields is not None:
                if "split" in fields:
                    fields["split"] = split_named(fields["split"], str(path))
                matched.append((path, fields))
            elif is_picture(path) or is_video(path):
                reading.skip(path, "does not follow the pattern", fault=False)
        return matched

    def _meanings(self) -> dict[str, str]:
        """Meanings of the labels named by ``rename`` and ``exclude``."""
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
                hint=f"Type --rename {spelling}=… with one of {', '.join(EXPRESSIONS)}, or --exclude {spelling}.",
            )
        if label == EXCLUDED:
            reading.skip(path, f"the label {folded(spelling)} is excluded", fault=False)
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
            reading.skip(path, "a row of a sequence without its subject or frame")
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
            reading.skip(frames[0][0], "a sequence of one frame")
            continue
        records.append(
            Sequence.from_neutral_to_apex(
                subject, sequence, tuple(Frame(path) for path, _ in frames), frames[0][1]["label"], apex_frames
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
            reading.skip(path, "a video where a frame's picture was looked for")
        else:
            subject, split = fields.get("subject"), fields.get("split")
            add_clip(reading, path, subject, name, fields["label"], apex_frames, split=split)


def _renaming(text: str) -> tuple[str, str]:
    spelling, equals, label = text.partition("=")
    meant = EXCLUDED if label.strip() == EXCLUDED else expression(label)
    if not spelling.strip() or not equals or meant is None:
        raise UsageError(
            f"--rename {text}: not a renaming.",
            hint=f"Type it like --rename grinning=happiness, with one of {', '.join(EXPRESSIONS)} on the right, or "
            f"{EXCLUDED} for a label that is not used.",
        )
    return folded(spelling), meant


def _natural(text: str) -> list[tuple[bool, int, str, str]]:
    """Sort key that puts frame 10 after frame 2, however many digits there are."""
    key = []
    for part in filter(None, re.split(r"(\d+)", text)):
        digits = part.lstrip("0") if part.isdecimal() else ""
        key.append((part.isdecimal(), len(digits), digits, part))
    return key


def _what_is_there(root: Path, reading: Reading) -> str:
    paths = [path.relative_to(root).as_posix() for path in islice(files_below(root), 3)]
    lines = [f"There is, for example: {', '.join(paths)}." if paths else "There is no file in the folder."]
    lines += [f"{path} is {reason}." for path, reason in unreadable(root)[:3]]
    faults = [entry for entry in reading.skipped if entry.fault]
    lines += [f"{entry.path}: {entry.reason}." for entry in faults[:3]]
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class PathPattern:
    """A pattern with named fields and stars, neither of which crosses a ``/``; letters match whatever their case.

    A field takes as little as it can and at least one character, a star as much as it can. ``folders`` has, for each
    part of the path between slashes, its literals and the wildcards between them: one literal more than wildcards.
    """

    folders: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]

    @classmethod
    def parse(cls, pattern: str) -> "PathPattern":
        """The pattern that a person typed; raises :class:`~fer_cli.errors.UsageError` if it is none."""
        fields = re.findall(r"\{(.*?)\}", pattern)
        stray = re.search(r"[{}]", re.sub(r"\{.*?\}", "", pattern))
        unknown = [name for name in fields if name not in FIELDS or fields.count(name) > 1]
        lacking = "label" not in fields or ("frame" in fields and "subject" not in fields)
        if stray or unknown or lacking:
            raise UsageError(
                f"--pattern '{pattern}' is not one.",
                hint="It needs {label}, may have {subject}, {sequence}, {frame} and {split}, each once; {frame} needs "
                "{subject}.",
            )
        folders = []
        for part in unicodedata.normalize("NFC", pattern).strip("/").split("/"):
            pieces = re.split(r"\{(.*?)\}|(\*)", part)
            wildcards = tuple(field or star for field, star in zip(pieces[1::3], pieces[2::3], strict=True))
            folders.append((tuple(map(_lower, pieces[0::3])), wildcards))
        return cls(tuple(folders))

    def match(self, path: str) -> dict[str, str] | None:
        """The fields of ``path``, composed (NFC) and as it spells them; None if it does not follow the pattern."""
        parts = unicodedata.normalize("NFC", path).split("/")
        if len(parts) != len(self.folders):
            return None
        fields: dict[str, str] = {}
        for part, (literals, wildcards) in zip(parts, self.folders, strict=True):
            found = _match(part, _lower(part), literals, wildcards)
            if found is None:
                return None
            fields |= found
        return fields


def _match(part: str, lower: str, literals: tuple[str, ...], wildcards: tuple[str, ...]) -> dict[str, str] | None:
    if not wildcards:
        return {} if lower == literals[0] else None
    # The last place at which each literal leaves room for all that follows it, found from the end; a wildcard is then
    # free to choose among the places up to that one, without ever having to come back.
    latest = [0] * len(literals)
    end = len(lower)
    for number in range(len(literals) - 1, 0, -1):
        literal = literals[number]
        at = end - len(literal) if number == len(literals) - 1 else lower.rfind(literal, 0, end)
        if end < 0 or at < 0 or not lower.startswith(literal, at):
            return None
        latest[number] = at
        end = at - (wildcards[number - 1] != STAR)
    if end < len(literals[0]) or not lower.startswith(literals[0]):
        return None
    fields, at = {}, len(literals[0])
    for number, name in enumerate(wildcards, start=1):
        last = number == len(wildcards)
        stop = latest[number] if last or name == STAR else lower.find(literals[number], at + 1)
        if name != STAR:
            fields[name] = part[at:stop]
        at = stop + len(literals[number])
    return fields


def _lower(text: str) -> str:
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    # A few letters, such as İ, are longer in lower case: they stand for themselves, so that places stay the same.
    return "".join(letter.lower() if len(letter.lower()) == 1 else letter for letter in text)
