"""Preparation of a dataset: a corpus read, records paired, pictures cropped, all of it written; or only checked."""

import dataclasses
import hashlib
import json
import shutil
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

import fer_cli
from fer_cli.corpora.base import Corpus, Frame, Reading, Skipped
from fer_cli.corpora.io import unpack_root
from fer_cli.dataset import schema
from fer_cli.dataset.crops import CropJob, Journal, crop_names, inside_images, make_crops
from fer_cli.dataset.pairing import Sample
from fer_cli.dataset.plan import (
    Plan,
    Preparation,
    check_folds,
    group_by_reason,
    main_reasons,
    make_plan,
    refuse_faults,
    relative_path,
    with_relative_paths,
)
from fer_cli.documents import read_document
from fer_cli.errors import DatasetError
from fer_cli.faces.align import CropTemplate
from fer_cli.faces.cascade import CASCADE, ChosenDetector, choose_detector, open_detector
from fer_cli.files import (
    as_text,
    locked,
    read_json,
    remove_abandoned,
    write_json,
    written_whole,
)
from fer_cli.labels import EXPRESSIONS
from fer_cli.progress import Progress, silent
from fer_cli.protocol import Protocol


def begin(out: Path, identity: dict[str, Any], *, overwrite: bool) -> str:
    """Make sure that ``out`` may be written to with the settings ``identity``; tell its state.

    Returns ``new``, ``unfinished`` or ``finished``; the last two mean the same settings. Raises
    :class:`~fer_cli.errors.DatasetError` if something else is there. ``overwrite`` clears a dataset of other settings,
    and never a folder that ``fer`` did not make.
    """
    stored = _settings_at(out)
    if stored == identity:
        return "finished" if (out / schema.CARD).is_file() else "unfinished"
    if stored is not None:
        if not overwrite:
            raise DatasetError(
                f"{out} holds a dataset prepared with other settings.",
                hint="Type --overwrite to replace it, or --out FOLDER to write elsewhere.",
            )
        _clear(out)
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DatasetError(
            f"{out} is in the way: it holds something that is no prepared dataset.",
            hint="Type --out FOLDER with the name of a new folder.",
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / schema.UNFINISHED, identity)
    except OSError as error:
        raise DatasetError(f"{out} cannot be written: {error.strerror}.", hint="Type --out FOLDER.") from error
    return "new"


def _settings_at(out: Path) -> dict[str, Any] | None:
    for name in (schema.UNFINISHED, schema.CARD):
        try:
            stored = read_json(out / name)
        except (OSError, ValueError):
            continue
        settings = stored.get("settings") if name == schema.CARD and isinstance(stored, dict) else stored
        if isinstance(settings, dict):
            return settings
    return None


def _clear(out: Path) -> None:
    """Remove what a preparation wrote, the card first so that nothing half-gone looks finished, and nothing else."""
    names = [name for name in Journal(out).entries if inside_images(name)]
    for name in (schema.CARD, schema.METADATA, schema.UNFINISHED, *names, schema.FACES):
        (out / name).unlink(missing_ok=True)
    for name in (schema.EMBEDDINGS, schema.DECODED):
        shutil.rmtree(out / name, ignore_errors=True)


def finish(out: Path, metadata: pd.DataFrame, card: dict[str, Any], journal: Journal, *, keep: set[str]) -> None:
    """Write the tables, then the card, which is the mark of a finished dataset."""
    journal.rewrite(keep)
    with written_whole(out / schema.METADATA) as part:
        metadata.to_csv(part, index=False, encoding="utf-8")
    card["checksums"] = {
        "metadata": hashlib.sha256((out / schema.METADATA).read_bytes()).hexdigest(),
        "crops": journal.digest(keep),
    }
    write_json(out / schema.CARD, card)
    (out / schema.UNFINISHED).unlink(missing_ok=True)


@dataclass(frozen=True)
class Prepared:
    """The result of a preparation, for a summary."""

    path: Path
    card: dict[str, Any]
    #: How many crops this run made; the others were there already.
    made: int

    @property
    def skipped(self) -> list[dict[str, Any]]:
        """The skipped inputs, as :func:`~fer_cli.dataset.plan.group_by_reason` gives it."""
        skipped: list[dict[str, Any]] = self.card[schema.SKIPPED]
        return skipped

    @property
    def faults(self) -> int:
        """Number of inputs skipped because something is wrong with them, rather than by the protocol."""
        return sum(entry["count"] for entry in self.skipped if entry["fault"])


def prepare(
    corpus: Corpus, root: Path, out: Path, settings: Preparation | None = None, *, progress: Progress = silent
) -> Prepared:
    """Prepare the corpus at ``root`` as a dataset in the folder ``out``.

    An interrupted preparation is completed by the same call, which redoes only what is missing. Raises
    :class:`~fer_cli.errors.CorpusError` if ``root`` is not the corpus, :class:`~fer_cli.errors.DatasetError` if ``out``
    is in the way, a class has too few subjects for the folds, or no picture can be used;
    :class:`~fer_cli.errors.DiskFullError` where there is no room for all crops.
    """
    with locked(out, "preparing into"):
        return _prepare(corpus, root, out, settings or Preparation(), progress)


def _prepare(corpus: Corpus, root: Path, out: Path, settings: Preparation, progress: Progress) -> Prepared:
    template = CropTemplate(settings.size, settings.margin)
    root = unpack_root(root, progress)
    check_folds(corpus, settings)
    corpus.make(root, progress)
    plan = make_plan(corpus, root, settings)
    root, reading, protocol = plan.root, plan.reading, plan.protocol
    names = crop_names(((sample.frame, sample.subject) for sample in plan.samples), root)
    identity = _identity(corpus, root, settings, protocol)
    model = _detector_model(settings, corpus, names, progress)
    state = begin(out, identity, overwrite=settings.overwrite)
    remove_abandoned(out / schema.IMAGES, "**/.*.part")
    jobs = [CropJob(frame, out / name) for frame, name in names.items()]
    journal = Journal(out)
    missing = [job for job in jobs if not journal.holds(names[job.frame])]
    lost: list[Skipped] = []
    if missing:
        with journal:
            results = make_crops(missing, template, model, cropped=corpus.cropped, workers=settings.jobs)
            for done, result in enumerate(results, start=1):
                frame = result.job.frame
                if result.facts is None:
                    lost.append(Skipped(_place(frame), result.reason or "unknown"))
                else:
                    journal.add(names[frame], source=relative_path(frame.path, root), **result.facts)
                progress("cropping", done, len(missing), skipped=len(lost))
    skipped = [*plan.skipped, *with_relative_paths(lost, root)]
    if settings.strict:
        refuse_faults([entry for entry in skipped if entry.fault], root)
    made = {frame: name for frame, name in names.items() if name in journal.entries}
    if not made:
        raise DatasetError(f"None of {len(names)} pictures could be used.", hint=main_reasons(lost))
    if state == "finished" and not missing:
        # A card that somebody has edited is written again.
        with suppress(DatasetError):
            return Prepared(out, read_document(out / schema.CARD, schema.FinishedCard, DatasetError), made=0)

    metadata = _metadata(plan.samples, made, plan.fold_of)
    card = {
        "version": schema.VERSION,
        "fer": fer_cli.__version__,
        "corpus": corpus.people,
        "title": protocol.corpus,
        "root": str(root),
        "settings": identity,
        "protocol": protocol.to_dict(),
        "crop": {
            "size": template.size,
            "margin": template.margin,
            "detector": _aligned_by(settings, corpus, model),
        },
        "counts": _counts(reading, metadata, protocol, journal, made),
        schema.SKIPPED: group_by_reason(skipped),
    }
    finish(out, metadata, card, journal, keep=set(made.values()))
    return Prepared(out, card, made=len(missing) - len(lost))


def _identity(corpus: Corpus, root: Path, settings: Preparation, protocol: Protocol) -> dict[str, Any]:
    """All settings that decide the dataset's content, to recognise a folder of the same ones."""
    own: dict[str, Any] = dataclasses.asdict(corpus) if dataclasses.is_dataclass(corpus) else {}
    identity: dict[str, Any] = json.loads(
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
    return identity


def _detector_model(
    settings: Preparation, corpus: Corpus, frames: dict[Frame, str], progress: Progress
) -> ChosenDetector:
    """The detector's file if any picture needs it, loaded once here so that a wrong one fails before work begins."""
    if (
        settings.detector == "none"
        or (corpus.cropped and corpus.aligned)
        or all(frame.landmarks is not None for frame in frames)
    ):
        return None
    # A dataset is found again by its settings, which must not depend on what can be downloaded today.
    wanted = CASCADE if settings.detector == CASCADE else "yunet"
    model = choose_detector(wanted, settings.detector_model, progress)
    open_detector(model)
    return model


def _aligned_by(settings: Preparation, corpus: Corpus, model: ChosenDetector) -> str:
    if model is not None:
        return CASCADE if model == CASCADE else "yunet"
    return "none" if corpus.cropped or settings.detector == "none" else "landmarks"


def _place(frame: Frame) -> str:
    """Place of a picture: its file, and its row where that is a table."""
    row = frame.kind == "table" and frame.index is not None
    return f"{frame.path}, row {(frame.index or 0) + 1}" if row else str(frame.path)


def _metadata(samples: list[Sample], made: dict[Frame, str], fold_of: dict[str, int]) -> pd.DataFrame:
    rows = [
        {
            "file_name": made[sample.frame],
            "label": sample.label,
            "subject": sample.subject,
            "sequence": sample.sequence,
            "frame": as_text(sample.frame.name),
            "role": sample.role,
            "neutral_file_name": made.get(sample.neutral) if sample.neutral else None,
            "split": sample.split,
            "fold": fold_of.get(sample.subject) if sample.subject else None,
            **dict(zip(schema.VOTE_COLUMNS, sample.votes or (), strict=sample.votes is not None)),
        }
        for sample in samples
        if sample.frame in made
    ]
    columns = [*schema.COLUMNS, *(schema.VOTE_COLUMNS if any(sample.votes for sample in samples) else ())]
    whole = {name: "Int64" for name in columns if name == "fold" or name in schema.VOTE_COLUMNS}
    table = pd.DataFrame(rows, columns=columns).astype(whole)
    return table.sort_values(["subject", "sequence", "file_name"], na_position="last", ignore_index=True)


def _counts(
    reading: Reading, metadata: pd.DataFrame, protocol: Protocol, journal: Journal, made: dict[Frame, str]
) -> dict[str, Any]:
    apexes = metadata[metadata["role"] == "apex"]
    unnamed = metadata["subject"].isna() & metadata["label"].isin(protocol.classes)
    faces_found = [journal.entries[name]["faces_found"] for name in made.values()]
    return {
        "found": dict(reading.found),
        "crops": len(metadata),
        "subjects": int(metadata["subject"].nunique()),
        "sequences": int(apexes[["subject", "sequence"]].dropna().drop_duplicates().shape[0]),
        "pairs": int(metadata["neutral_file_name"].notna().sum()),
        "without_subject": int(unnamed.sum()) if protocol.folds else 0,
        "per_class": {name: count for name in EXPRESSIONS if (count := int((metadata["label"] == name).sum()))},
        "pictures_with_several_faces": sum(count > 1 for count in faces_found),
        "pictures_without_a_face": sum(count == 0 for count in faces_found),
        "without_label": int(metadata["label"].isna().sum()),
    }


@dataclass(frozen=True)
class Check:
    """The result of :func:`check`.

    ``counts`` has a row a thing that is counted, with the columns ``found`` and ``promised`` (NA where the owners say
    nothing). ``classes`` has a row a class: ``sequences or stills``, ``pictures``, ``subjects``. ``folds`` has a row a
    fold: ``subjects``, ``sequences or stills``, ``pictures``.
    """

    plan: Plan
    counts: pd.DataFrame
    classes: pd.DataFrame
    folds: pd.DataFrame

    @property
    def skipped(self) -> list[dict[str, Any]]:
        """The inputs that would be skipped, by reason."""
        return group_by_reason(self.plan.skipped)

    @property
    def as_promised(self) -> bool:
        """Whether every count is the owners'."""
        promised = self.counts.dropna()
        return bool((promised["found"] == promised["promised"]).all())


def check(corpus: Corpus, root: Path, settings: Preparation | None = None) -> Check:
    """Check the corpus at ``root``; raises what :func:`fer_cli.dataset.plan.make_plan` raises."""
    plan = make_plan(corpus, root, settings or Preparation())
    records = plan.reading.records
    found = Counter(plan.reading.found)
    subjects = {record.subject for record in records if record.subject is not None}
    if subjects:
        found["subjects"] = len(subjects)
    promises = corpus.promises_at(plan.root)
    names = [*found, *(name for name in promises if name not in found)]
    counts = pd.DataFrame(
        {"found": [found[name] for name in names], "promised": [promises.get(name) for name in names]},
        index=pd.Index(names, name="what"),
    ).astype("Int64")
    shown = [sample for sample in plan.samples if sample.label in plan.protocol.classes]
    table = pd.DataFrame(
        {
            "label": [sample.label for sample in shown],
            "subject": [sample.subject for sample in shown],
            "one": [
                f"{sample.subject}/{sample.sequence}/{sample.label}" if sample.sequence else as_text(sample.frame.path)
                for sample in shown
            ],
            "fold": pd.array([plan.fold_of.get(sample.subject or "") for sample in shown], dtype="Int64"),
        }
    )
    order = [name for name in EXPRESSIONS if name in plan.protocol.classes]
    return Check(plan, counts, _table_by(table, "label").reindex(order, fill_value=0), _table_by(table, "fold"))


def _table_by(table: pd.DataFrame, by: str) -> pd.DataFrame:
    groups = table.groupby(by)
    return pd.DataFrame(
        {
            "subjects": groups["subject"].nunique(),
            "sequences or stills": groups["one"].nunique(),
            "pictures": groups.size(),
        }
    )
