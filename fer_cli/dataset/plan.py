"""What a preparation would do, before any picture is opened: records, classes, pairs, folds."""

import re
from dataclasses import dataclass
from pathlib import Path

from fer_cli.corpora.archives import UNPACKED, archives_in, is_archive
from fer_cli.corpora.corpus import Corpus
from fer_cli.corpora.record import LeftOut, Reading, Sequence
from fer_cli.corpora.walk import unreadable
from fer_cli.dataset.folds import assign_folds
from fer_cli.dataset.left_out import commonest, relative
from fer_cli.dataset.pairing import Sample, pair, pairing_rule, unpaired
from fer_cli.dataset.preparation import Preparation
from fer_cli.errors import CorpusError, DatasetError
from fer_cli.labels import EXPRESSIONS, class_set
from fer_cli.protocol import Protocol

UNNAMED = "no subject is named, who may be in any fold: in the dataset, and never trained, chosen by or tested on"


@dataclass(frozen=True)
class Plan:
    """A corpus read, paired and divided under a protocol.

    ``root`` is the folder in which the corpus's layout begins. ``fold_of`` maps a subject to its fold, and is empty
    where the corpus does not say who is shown. ``left_out`` has its paths from ``root``.
    """

    root: Path
    reading: Reading
    samples: list[Sample]
    left_out: list[LeftOut]
    fold_of: dict[str, int]
    protocol: Protocol

    @property
    def faults(self) -> list[LeftOut]:
        """What was left out because something is wrong with it, rather than by the protocol."""
        return [entry for entry in self.left_out if entry.fault]


def make_plan(corpus: Corpus, root: Path, settings: Preparation) -> Plan:
    """Read the corpus at ``root`` and decide what of it is used, as what.

    Raises :class:`~fer_cli.errors.CorpusError` if ``root`` is not the corpus, :class:`~fer_cli.errors.DatasetError` if
    nothing of it shows the classes or a class has too few subjects for the folds, or, if ``settings`` are strict, if
    anything is wrong with it.
    """
    root = _located(corpus, root)
    apex_frames = settings.apex_frames or corpus.apex_frames
    reading = corpus.read(root, apex_frames=apex_frames)
    reading.left_out += unreadable(root)
    if not reading.records:
        raise DatasetError(f"Nothing in {root} can be used.", hint=commonest(reading.left_out))
    classes = _classes(settings.classes or corpus.classes, reading)
    pairing = pair(reading.records, classes)
    if settings.neutral == "none":
        pairing.samples = unpaired(pairing.samples, classes)
    if not pairing.samples:
        raise DatasetError(f"No picture in {root} shows any of {', '.join(classes)}.", hint=commonest(pairing.left_out))
    folds, rule = settings.folds or corpus.folds, settings.fold_rule or corpus.fold_rule
    known = [(sample.subject, sample.label) for sample in pairing.samples if sample.subject and sample.label in classes]
    fold_of = assign_folds(known, folds, rule) if known else {}
    frames = _frame_rule(reading, apex_frames) + (", unpaired" if settings.neutral == "none" else "")
    compared = "" if settings.neutral == "none" else pairing_rule(reading.records, classes, corpus.session_name)
    protocol = Protocol(corpus.title_at(root), classes, frames, folds if known else 0, rule, pairing=compared)
    unnamed = [sample for sample in pairing.samples if sample.subject is None and sample.label in classes]
    pairing.left_out += [LeftOut(str(sample.frame.path), UNNAMED, fault=False) for sample in unnamed if known]
    left_out = relative([*reading.left_out, *pairing.left_out], root)
    plan = Plan(root, reading, pairing.samples, left_out, fold_of, protocol)
    if settings.strict:
        refuse_faults(plan.faults, root)
    return plan


def refuse_faults(faults: list[LeftOut], root: Path) -> None:
    """Raise :class:`~fer_cli.errors.DatasetError`, naming the first few, if there are any."""
    if faults:
        shown = "\n".join(f"{entry.path}: {entry.reason}" for entry in faults[:10])
        more = f"\n… and {len(faults) - 10} more" if len(faults) > 10 else ""
        raise DatasetError(
            f"{len(faults)} things in {root} are not as they should be:\n{shown}{more}",
            hint="Without --strict they are left out and listed.",
        )


def _located(corpus: Corpus, root: Path) -> Path:
    if root.is_file():
        raise CorpusError(
            f"{root} is a file, not {corpus.title}'s folder.",
            hint="An archive is unpacked by fer prepare without --check." if is_archive(root) else "",
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
    """Where the corpus begins if ``root`` is one of the folders in its layout, told by their names alone.

    Nothing outside the folder that was typed is looked at.
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
        raise DatasetError(
            f"Only {', '.join(labels) or 'no expression'} was found: a classifier needs two or more.",
        )
    return tuple(name for name in EXPRESSIONS if name in labels)


def _frame_rule(reading: Reading, apex_frames: int) -> str:
    sources = {record.apex_source for record in reading.records if isinstance(record, Sequence)}
    if not sources:
        return "stills"
    sources = {f"apex {source}" if source in ("annotated", "assumed") else source for source in sources}
    last = f"last {apex_frames} frames" if apex_frames > 1 else "last frame"
    return last if sources == {last} else " or ".join(sorted(sources))
