"""The plan of a preparation, before any picture is opened: its settings, records, classes, pairs, folds."""

import dataclasses
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_doc import Doc
from annotated_types import Ge, Interval

from fer_cli.corpora.base import Corpus, Reading, Sequence, Skipped
from fer_cli.corpora.io import UNPACKED, archives_in, is_archive, unreadable
from fer_cli.dataset.pairing import Sample, assign_folds, pair, pairing_rule, unpaired
from fer_cli.errors import CorpusError, DatasetError
from fer_cli.labels import EXPRESSIONS, class_set
from fer_cli.options import Panel, check_bounds
from fer_cli.protocol import Protocol

UNNAMED = "no subject is named, who may be in any fold: in the dataset, and never trained, chosen by or tested on"
_PROTOCOL, _FACES, _OUTPUT = Panel("Protocol"), Panel("Faces"), Panel("Output")


@dataclass(frozen=True, slots=True)
class Preparation:
    """Settings of a preparation; None means the corpus's published protocol."""

    classes: Annotated[
        str | None,
        Doc("Class set: 6, 7-contempt, 7-neutral, 8, found, or a list. Default: as published, else found."),
        _PROTOCOL,
    ] = None
    neutral: Annotated[
        Literal["first", "none"], Doc("first: pair each picture with a neutral one of its subject."), _PROTOCOL
    ] = "first"
    apex_frames: Annotated[
        int | None, Ge(1), Doc("Last frames of a sequence that are its apex. Default: as published."), _PROTOCOL
    ] = None
    folds: Annotated[int | None, Ge(3), Doc("Subject-independent folds. Default: as published."), _PROTOCOL] = None
    fold_rule: Annotated[
        Literal["id-step", "stratified-group"] | None, Doc("Rule of the folds. Default: as published."), _PROTOCOL
    ] = None
    size: Annotated[int, Interval(ge=32, le=1024), Doc("Side of the square crops in pixels."), _FACES] = 224
    margin: Annotated[
        float, Interval(ge=0, le=1), Doc("Margin around the face, in sides of the tight crop."), _FACES
    ] = 0.15
    detector: Annotated[
        Literal["auto", "cascade", "none"],
        Doc("auto: the owners' landmarks, else YuNet; cascade: else frontal faces. none: pictures are crops."),
        _FACES,
    ] = "auto"
    detector_model: Annotated[
        Path | None, Doc("YuNet's .onnx file. Default: FER_YUNET, else downloaded once."), _FACES
    ] = None
    strict: Annotated[bool, Doc("Stop at any fault instead of skipping it."), _OUTPUT] = False
    jobs: Annotated[int | None, Ge(1), Doc("Processes. Default: one a core."), _OUTPUT] = None
    overwrite: Annotated[bool, Doc("Replace a dataset prepared with other settings."), _OUTPUT] = False

    def __post_init__(self) -> None:
        check_bounds(self)


@dataclass(frozen=True)
class Plan:
    """A corpus read, paired and divided under a protocol.

    ``root`` is the folder in which the corpus's layout begins. ``fold_of`` maps a subject to its fold, and is empty
    where the corpus does not say who is shown. ``skipped`` has its paths from ``root``.
    """

    root: Path
    reading: Reading
    samples: list[Sample]
    skipped: list[Skipped]
    fold_of: dict[str, int]
    protocol: Protocol

    @property
    def faults(self) -> list[Skipped]:
        """The inputs skipped because something is wrong with them, rather than by the protocol."""
        return [entry for entry in self.skipped if entry.fault]


def check_folds(corpus: Corpus, settings: Preparation) -> None:
    """Raise :class:`~fer_cli.errors.DatasetError` if what the corpus is going to make is too little for the folds."""
    promised = corpus.promised()
    if settings.classes not in (None, "found"):
        promised = [(subject, label) for subject, label in promised if label in class_set(settings.classes)]
    if promised:
        assign_folds(promised, settings.folds or corpus.folds, settings.fold_rule or corpus.fold_rule)


def make_plan(corpus: Corpus, root: Path, settings: Preparation) -> Plan:
    """Read the corpus at ``root`` and decide what of it is used, as what.

    Raises :class:`~fer_cli.errors.CorpusError` if ``root`` is not the corpus, :class:`~fer_cli.errors.DatasetError` if
    nothing of it shows the classes or a class has too few subjects for the folds, or, if ``settings`` are strict, if
    anything is wrong with it.
    """
    root = _located(corpus, root)
    apex_frames = settings.apex_frames or corpus.apex_frames
    reading = corpus.read(root, apex_frames=apex_frames)
    reading.skipped += [Skipped(path, reason) for path, reason in unreadable(root)]
    if not reading.records:
        raise DatasetError(f"Nothing in {root} can be used.", hint=main_reasons(reading.skipped))
    classes = _classes(settings.classes or corpus.classes, reading)
    pairing = pair(reading.records, classes)
    if settings.neutral == "none":
        pairing.samples = unpaired(pairing.samples, classes)
    if all(sample.label is None for sample in pairing.samples):
        raise DatasetError(
            f"No picture in {root} shows any of {', '.join(classes)}.", hint=main_reasons(pairing.skipped)
        )
    folds, rule = settings.folds or corpus.folds, settings.fold_rule or corpus.fold_rule
    named = [(sample.subject, sample.label) for sample in pairing.samples if sample.subject and sample.label in classes]
    fold_of = assign_folds(named, folds, rule) if named else {}
    # Without a label, a subject of whom there is nothing else is in no fold.
    pairing.samples = [
        sample for sample in pairing.samples if sample.label or not sample.subject or sample.subject in fold_of
    ]
    frames = _frame_rule(reading) + (", unpaired" if settings.neutral == "none" else "")
    compared = "" if settings.neutral == "none" else pairing_rule(reading.records, classes, corpus.session_name)
    protocol = Protocol(corpus.title_at(root), classes, frames, folds if named else 0, rule, pairing=compared)
    unnamed = [sample for sample in pairing.samples if sample.subject is None and sample.label in classes]
    pairing.skipped += [Skipped(str(sample.frame.path), UNNAMED, fault=False) for sample in unnamed if named]
    skipped = with_relative_paths([*reading.skipped, *pairing.skipped], root)
    plan = Plan(root, reading, pairing.samples, skipped, fold_of, protocol)
    if settings.strict:
        refuse_faults(plan.faults, root)
    return plan


def refuse_faults(faults: list[Skipped], root: Path) -> None:
    """Raise :class:`~fer_cli.errors.DatasetError`, naming the first few, if there are any."""
    if faults:
        shown = "\n".join(f"{entry.path}: {entry.reason}" for entry in faults[:10])
        more = f"\n… and {len(faults) - 10} more" if len(faults) > 10 else ""
        raise DatasetError(
            f"{len(faults)} things in {root} are not as they should be:\n{shown}{more}",
            hint="Without --strict they are skipped and listed.",
        )


def _located(corpus: Corpus, root: Path) -> Path:
    if root.is_file():
        raise CorpusError(
            f"{root} is a file, not {corpus.title}'s folder.",
            hint="An archive is unpacked by fer prepare without --check."
            if is_archive(root)
            else f"Type the folder that {corpus.title} is in.",
        )
    try:
        return corpus.locate(root)
    except CorpusError as error:
        if root.is_dir() and archives_in(root) and not (root / UNPACKED).is_dir():
            raise CorpusError(
                error.message, hint=f"Archives are unpacked by fer prepare without --check.\n{error.hint}"
            ) from error
        above = _above(corpus, root)
        if above is None:
            raise
        hint = f"By its name it is a folder of {corpus.title}: type the one that it belongs to, such as {above}."
        raise CorpusError(error.message, hint=f"{hint}\n{error.hint}") from error


def _above(corpus: Corpus, root: Path) -> Path | None:
    """The folder in which the corpus begins if ``root`` is one of those in its layout, by their names alone.

    Nothing outside the folder that was typed is searched.
    """
    root = root.absolute()
    for path in corpus.layout.split():
        folders = [_without_numbers(name) for name in path.split("/")[:-1]]
        if not root.name.isdigit() and _without_numbers(root.name) in folders:
            return root.parents[folders.index(_without_numbers(root.name))]
    return None


def _without_numbers(name: str) -> str:
    return re.sub(r"\d+", "0", name.casefold())


def _classes(wanted: str, reading: Reading) -> tuple[str, ...]:
    if wanted != "found":
        return class_set(wanted)
    labels = {record.label for record in reading.records if record.label is not None}
    if len(labels) < 2:
        raise DatasetError(f"Only {', '.join(labels) or 'no expression'} was found: a classifier needs two or more.")
    return tuple(name for name in EXPRESSIONS if name in labels)


def _frame_rule(reading: Reading) -> str:
    sources = {record.apex_source for record in reading.records if isinstance(record, Sequence)}
    if not sources:
        return "stills"
    sources = {f"apex {source}" if source in ("annotated", "assumed") else source for source in sources}
    return " or ".join(sorted(sources))


def group_by_reason(skipped: list[Skipped]) -> list[dict[str, Any]]:
    """The skipped by reason, faults first and then the most frequent: ``reason``, ``fault``, ``count``, ``paths``."""
    paths: dict[tuple[bool, str], list[str]] = defaultdict(list)
    for entry in skipped:
        paths[not entry.fault, entry.reason].append(entry.path)
    return [
        {"reason": reason, "fault": not by_rule, "count": len(found), "paths": sorted(found)}
        for (by_rule, reason), found in sorted(paths.items(), key=lambda item: (item[0][0], -len(item[1]), item[0][1]))
    ]


def main_reasons(skipped: list[Skipped]) -> str:
    """A sentence with the three most frequent reasons, or nothing."""
    reasons = Counter(entry.reason for entry in skipped).most_common(3)
    return "Skipped: " + "; ".join(f"{count} × {reason}" for reason, count in reasons) + "." if reasons else ""


def with_relative_paths(skipped: list[Skipped], root: Path) -> list[Skipped]:
    """The same with paths from ``root``."""
    return [dataclasses.replace(entry, path=relative_path(Path(entry.path), root)) for entry in skipped]


def relative_path(path: Path, root: Path) -> str:
    """``path`` from ``root``."""
    return str(path.relative_to(root) if path.is_relative_to(root) else path)
