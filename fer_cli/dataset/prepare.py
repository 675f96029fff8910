"""Preparing: a corpus read into records, records paired, pictures cropped, and all of it written as a dataset."""

import dataclasses
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

import fer_cli
from fer_cli.corpora.corpus import Corpus
from fer_cli.corpora.record import Frame, LeftOut, Reading, Sequence
from fer_cli.dataset import schema
from fer_cli.dataset.crops import CropJob, make_crops
from fer_cli.dataset.folder import Journal, claim, finish
from fer_cli.dataset.folds import assign_folds
from fer_cli.dataset.names import crop_names
from fer_cli.dataset.pairing import Sample, pair
from fer_cli.dataset.preparation import Preparation
from fer_cli.errors import DatasetError
from fer_cli.faces.align import CropTemplate
from fer_cli.faces.detect import Detector
from fer_cli.faces.detector_model import find_detector_model
from fer_cli.labels import EXPRESSIONS, class_set
from fer_cli.progress import Progress, silent
from fer_cli.protocol import Protocol


@dataclass(frozen=True)
class Prepared:
    """What a preparation came to, for a summary."""

    path: Path
    card: dict[str, Any]
    #: How many crops this run made; the others were there already.
    made: int

    @property
    def faults(self) -> int:
        """How many inputs were left out because something is wrong with them, rather than by the protocol."""
        return sum(entry["count"] for entry in self.card["left_out"] if entry["fault"])


def prepare(
    corpus: Corpus, root: Path, out: Path, settings: Preparation | None = None, *, progress: Progress = silent
) -> Prepared:
    """Prepare the corpus at ``root`` as a dataset in the folder ``out``.

    An interrupted preparation is completed by the same call, which redoes only what is missing. Raises
    :class:`~fer_cli.errors.CorpusError` if ``root`` is not the corpus, :class:`~fer_cli.errors.DatasetError` if ``out``
    is in the way, a class has too few subjects for the folds, or no picture can be used.
    """
    settings = settings or Preparation()
    template = CropTemplate(settings.size, settings.margin)
    corpus.make(root, progress)
    root = corpus.locate(root)
    apex_frames = settings.apex_frames or corpus.apex_frames
    reading = corpus.read(root, apex_frames=apex_frames)
    if not reading.records:
        raise DatasetError(f"Nothing in {root} can be used.", mend=_first_reasons(reading.left_out))
    classes = _classes(settings.classes or corpus.classes, reading)
    pairing = pair(reading.records, classes)
    fold_of, protocol = _folds(corpus, root, settings, classes, pairing.samples, _frame_rule(reading, apex_frames))
    names = crop_names(((sample.frame, sample.subject) for sample in pairing.samples), root)
    if not names:
        raise DatasetError(
            f"No picture in {root} shows any of {', '.join(classes)}.", mend=_first_reasons(pairing.left_out)
        )

    identity = _identity(corpus, root, settings, protocol)
    model = _detector_model(settings, corpus, names, progress)
    state = claim(out, identity, overwrite=settings.overwrite)
    jobs = [CropJob(frame, out / name) for frame, name in names.items()]
    journal = Journal(out)
    missing = [job for job in jobs if not journal.holds(names[job.frame])]
    lost = _crop_all(missing, template, model, settings.jobs, journal, names, root, progress) if missing else []
    left_out = _relative([*reading.left_out, *pairing.left_out, *lost], root)
    made = {frame: name for frame, name in names.items() if name in journal.entries}
    if not made:
        raise DatasetError(f"None of {len(names)} pictures could be used.", mend=_first_reasons(lost))
    if state == "finished" and not missing:
        card = json.loads((out / schema.CARD).read_text(encoding="utf-8"))
        return Prepared(out, card, made=0)

    metadata = _metadata(pairing.samples, made, fold_of)
    card = {
        "version": schema.VERSION,
        "fer": fer_cli.__version__,
        "corpus": corpus.name,
        "title": protocol.corpus,
        "root": str(root),
        "settings": identity,
        "protocol": protocol.to_dict(),
        "crop": {
            "size": template.size,
            "margin": template.margin,
            "detector": _aligned_by(settings, corpus, model),
        },
        "counts": _counts(reading, metadata, journal, made),
        "left_out": _grouped(left_out),
    }
    finish(out, metadata, card, journal, keep=set(made.values()))
    return Prepared(out, card, made=len(missing) - len(lost))


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
    last = f"last {apex_frames} frames" if apex_frames > 1 else "last frame"
    return last if sources == {last} else " or ".join(sorted(sources))


def _folds(
    corpus: Corpus, root: Path, settings: Preparation, classes: tuple[str, ...], samples: list[Sample], frames: str
) -> tuple[dict[str, int], Protocol]:
    folds, rule = settings.folds or corpus.folds, settings.fold_rule or corpus.fold_rule
    known = [(sample.subject, sample.label) for sample in samples if sample.subject and sample.label in classes]
    title = corpus.title_at(root)
    if not known:
        return {}, Protocol(title, classes, frames, 0, rule)
    return assign_folds(known, folds, rule), Protocol(title, classes, frames, folds, rule)


def _identity(corpus: Corpus, root: Path, settings: Preparation, protocol: Protocol) -> dict[str, Any]:
    """All that decides what the dataset holds, so that a folder can tell whether the same is asked of it again."""
    own = dataclasses.asdict(corpus) if dataclasses.is_dataclass(corpus) else {}
    return json.loads(
        json.dumps(
            {
                "version": schema.VERSION,
                "corpus": {"name": corpus.name, **own},
                "root": str(root.resolve()),
                "protocol": protocol.to_dict(),
                "size": settings.size,
                "margin": settings.margin,
                "detector": settings.detector,
            },
            default=str,
        )
    )


def _detector_model(settings: Preparation, corpus: Corpus, frames: dict[Frame, str], progress: Progress) -> Path | None:
    """The detector's file if any picture needs it, tried once here so that a wrong one is said before work begins."""
    if settings.detector == "none" or corpus.cropped or all(frame.landmarks is not None for frame in frames):
        return None
    model = find_detector_model(settings.detector_model, progress)
    Detector(model)
    return model


def _aligned_by(settings: Preparation, corpus: Corpus, model: Path | None) -> str:
    if model is not None:
        return "yunet"
    return "none" if corpus.cropped or settings.detector == "none" else "landmarks"


def _crop_all(
    jobs: list[CropJob],
    template: CropTemplate,
    model: Path | None,
    workers: int | None,
    journal: Journal,
    names: dict[Frame, str],
    root: Path,
    progress: Progress,
) -> list[LeftOut]:
    lost = []
    with journal:
        for done, result in enumerate(make_crops(jobs, template, model, workers=workers), start=1):
            frame = result.job.frame
            if result.facts is None:
                lost.append(LeftOut(str(frame.path), result.reason or "unknown"))
            else:
                journal.add(names[frame], source=_from(frame.path, root), **result.facts)
            progress("cropping", done, len(jobs), left_out=len(lost))
    return lost


def _metadata(samples: list[Sample], made: dict[Frame, str], fold_of: dict[str, int]) -> pd.DataFrame:
    rows = [
        {
            "file_name": made[sample.frame],
            "label": sample.label,
            "subject": sample.subject,
            "sequence": sample.sequence,
            "frame": sample.frame.path.stem.encode(errors="replace").decode(),
            "role": sample.role,
            "neutral_file_name": made.get(sample.neutral) if sample.neutral else None,
            "split": sample.split,
            "fold": fold_of.get(sample.subject) if sample.subject else None,
        }
        for sample in samples
        if sample.frame in made
    ]
    table = pd.DataFrame(rows, columns=list(schema.COLUMNS)).astype({"fold": "Int64"})
    return table.sort_values(["subject", "sequence", "file_name"], na_position="last", ignore_index=True)


def _counts(reading: Reading, metadata: pd.DataFrame, journal: Journal, made: dict[Frame, str]) -> dict[str, Any]:
    apexes = metadata[metadata["role"] == "apex"]
    several = sum(1 for name in made.values() if journal.entries[name]["faces_found"] > 1)
    return {
        "found": dict(reading.found),
        "crops": len(metadata),
        "subjects": int(metadata["subject"].nunique()),
        "sequences": int(apexes[["subject", "sequence"]].dropna().drop_duplicates().shape[0]),
        "pairs": int(metadata["neutral_file_name"].notna().sum()),
        "per_class": {name: count for name in EXPRESSIONS if (count := int((metadata["label"] == name).sum()))},
        "pictures_with_several_faces": several,
    }


def _grouped(left_out: list[LeftOut]) -> list[dict[str, Any]]:
    """What was left out, by reason, the faults first."""
    reasons = Counter((entry.reason, entry.fault) for entry in left_out)
    return [
        {
            "reason": reason,
            "fault": fault,
            "count": count,
            "paths": sorted(entry.path for entry in left_out if (entry.reason, entry.fault) == (reason, fault)),
        }
        for (reason, fault), count in sorted(reasons.items(), key=lambda item: (not item[0][1], -item[1], item[0][0]))
    ]


def _relative(left_out: list[LeftOut], root: Path) -> list[LeftOut]:
    return [dataclasses.replace(entry, path=_from(Path(entry.path), root)) for entry in left_out]


def _from(path: Path, root: Path) -> str:
    inside = path.relative_to(root) if path.is_relative_to(root) else path
    return str(inside).encode(errors="replace").decode()


def _first_reasons(left_out: list[LeftOut]) -> str:
    reasons = Counter(entry.reason for entry in left_out).most_common(3)
    return "Left out: " + "; ".join(f"{count} × {reason}" for reason, count in reasons) + "." if reasons else ""
