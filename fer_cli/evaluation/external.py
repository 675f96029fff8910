"""Evaluation of predictions that another program made, from its table."""

import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from fer_cli.dataset.crops import Journal
from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.errors import DatasetError, UsageError
from fer_cli.evaluation.evaluate import EvaluateOptions, summarize
from fer_cli.evaluation.inference import SharedClasses, prediction_table, shared_classes
from fer_cli.evaluation.metrics import missing_as_wrong
from fer_cli.evaluation.programs import Face, Predictions, read_predictions
from fer_cli.evaluation.report.page import write_report
from fer_cli.evaluation.results import Evaluation, Missing, Provenance, refuse_foreign, write
from fer_cli.evaluation.subgroups import require_votes, with_agreement
from fer_cli.faces.formats import PICTURES
from fer_cli.files import as_text, locked
from fer_cli.labels import folded, in_order
from fer_cli.options import DEFAULT_SESSION, Session

#: So many names are shown where a table is of other pictures.
_EXAMPLES = 3


def evaluate_predictions(
    file: Path,
    dataset: PreparedDataset,
    options: EvaluateOptions | None = None,
    session: Session = DEFAULT_SESSION,
    *,
    pictures: bool = True,
) -> Evaluation:
    """Evaluate the table of predictions ``file`` on the pictures of ``dataset``, whatever program made it.

    Rows are joined with the dataset's crops, or with the pictures that these were made from, by their path without the
    ending, else by as much of its end as names one picture. Of several faces of a picture the largest is taken, of
    equally large or unknown ones that of the highest detection score, else the first. Classes are mapped by name, as
    for a run. Pictures without a face in the table are ``missing``: the metrics are of the others, and ``missing`` has
    them with those counted as wrong. Without probabilities the metrics that need them are NaN. Writes what
    :func:`~fer_cli.evaluation.evaluate.evaluate` writes, by default into a folder next to the table; without
    ``pictures`` no figures.

    ``options`` are as for a run, but for ``data`` and ``analysis``, which need one; a ``split`` other than all is the
    owners'. Raises :class:`~fer_cli.errors.DatasetError` if the table is no such table or of other pictures, if dataset
    and program have fewer than two classes in common or there is nothing to tell apart;
    :class:`~fer_cli.errors.UsageError` if ``out`` has files of somebody else's, or for a ``split`` by folds.
    """
    options = options or EvaluateOptions()
    path = options.out or file.with_name(f"{file.stem}-{dataset.name}")
    refuse_foreign(path)
    if options.sample_weight is not None:
        require_votes(dataset)
    table = read_predictions(file)
    rows = _rows(dataset, options)
    labels = set(rows["label"])
    shared = shared_classes(table.vocabulary or in_order(labels), labels, dataset, own=False)
    tested = rows[rows["label"].isin(shared.classes)].reset_index(drop=True)
    faces, notes = _join(file, table, dataset, tested)
    found = tested["file_name"].isin(faces)
    predictions, classes, words = _predictions(table, shared, tested[found], faces, len(rows) - len(tested))
    if predictions["label"].nunique() < 2:
        raise DatasetError(
            f"There is nothing to tell apart: of {len(tested)} pictures of {dataset.path}, {file} has "
            f"{len(predictions)}, which all show {predictions['label'].iloc[0]}."
        )
    if options.sample_weight is not None:
        predictions = with_agreement(predictions, dataset)
    missing = None
    if not found.all():
        names = tuple(tested["file_name"][~found])
        unseen: pd.DataFrame = tested[~found].assign(predicted=pd.NA)  # type: ignore[arg-type]  # the stubs lack NA
        both = pd.concat([predictions, unseen], ignore_index=True)
        missing = Missing(names, len(tested), missing_as_wrong(both, classes))
        notes.append(
            f"{len(names)} of {len(tested)} pictures have no face in the table ({_some(names)}): the metrics are of "
            "the others."
        )
    provenance = _provenance(file, table, dataset, options, session)
    with locked(path, "evaluating into", wait=True):
        evaluation = summarize(
            predictions,
            classes,
            provenance,
            path=path,
            notes=(*notes, *table.notes, *words, _origin(table)),
            attributes=options.attributes,
            missing=missing,
        )
        write(evaluation, pictures=pictures)
        write_report(evaluation)
    return evaluation


def _rows(dataset: PreparedDataset, options: EvaluateOptions) -> pd.DataFrame:
    if options.split in (None, "all"):
        return dataset.samples(paired=False)
    if dataset.protocol.folds:
        raise UsageError(
            f"--split {options.split}: which fold of {dataset.path} is tested is a run's to say, and predictions of "
            "another program have none.",
            hint="Type no --split: every picture is tested.",
        )
    return dataset.split(0, paired=False)[options.split]


def _provenance(
    file: Path, table: Predictions, dataset: PreparedDataset, options: EvaluateOptions, session: Session
) -> Provenance:
    typed = ["fer", "evaluate", "--predictions", str(file), "--data", str(dataset.path)]
    typed += ["--out", str(options.out)] if options.out else []
    part = "every picture" if options.split in (None, "all") else "the owners' split"
    title = table.program if table.program != "another program" else as_text(file.stem)
    about = f"{dataset.protocol.name}; predictions of {title}; {part}; neutral access {table.neutral}"
    facts = (("program", table.program), ("table", as_text(file)))
    return Provenance(
        title,
        about,
        dataset.protocol,
        dataset,
        (),
        command=session.command or shlex.join(typed),
        neutral=table.neutral,
        facts=facts,
    )


def _origin(table: Predictions) -> str:
    who = "the model" if table.program == "fer predict" else table.program
    return f"It is not known here what {who} was trained on: it may have seen these pictures, or these people."


def _predictions(
    table: Predictions, shared: SharedClasses, rows: pd.DataFrame, faces: Mapping[str, Face], excluded: int
) -> tuple[pd.DataFrame, tuple[str, ...], list[str]]:
    """The table of predictions, its classes, and what to say of classes on one side only."""
    chosen = [faces[name] for name in rows["file_name"]]
    if table.classes:
        probabilities = replace(shared, model=table.classes).of(table.probabilities(chosen))
        return prediction_table(rows, probabilities, shared.classes), shared.classes, shared.notes(excluded)
    predicted = [face.label for face in chosen if face.label is not None]
    classes = in_order({*shared.classes, *predicted})
    notes = ["The table has classes and no probabilities: the metrics that need probabilities are missing."]
    if excluded:
        notes += replace(shared, model=shared.classes).notes(excluded)
    if beyond := [name for name in classes if name not in shared.classes]:
        notes.append(f"Predictions of {', '.join(beyond)}, of which the dataset has no sample, count as wrong.")
    columns = rows[["file_name", "subject", "sequence", "fold", "label"]].reset_index(drop=True)
    return columns.assign(predicted=predicted, confidence=np.nan), classes, notes


def _join(
    file: Path, table: Predictions, dataset: PreparedDataset, rows: pd.DataFrame
) -> tuple[dict[str, Face], list[str]]:
    """The face of each picture that the table has, by the crop's ``file_name``, and what to say of it.

    Raises :class:`~fer_cli.errors.DatasetError` if there is none.
    """
    of_picture: dict[tuple[str, ...], list[Face]] = defaultdict(list)
    for face in table.faces:
        of_picture[_parts(face.picture)].append(face)
    every = list(of_picture)
    every += [parts for name in table.without_face if (parts := _parts(name)) not in of_picture]
    crops = {name: name for name in dataset.metadata["file_name"]}
    namings = [crops, _sources(dataset)]
    matched, short, unclear = max((_match(file, every, each) for each in namings), key=lambda match: len(match[0]))
    wanted = set(rows["file_name"])
    faces, several = {}, 0
    for parts, name in matched.items():
        if name in wanted and parts in of_picture:
            several += len(of_picture[parts]) > 1
            faces[name] = _chosen(of_picture[parts])
    if not faces:
        raise DatasetError(
            f"{file} has none of the pictures of {dataset.path} that are tested. Looked for: "
            f"{_some(rows['file_name'].tolist())}. Found: {_some([face.picture for face in table.faces])}.",
            hint=f"Run {table.program} on the dataset's crops, in {dataset.path}, or on the pictures that they were "
            "made from.",
        )
    notes = []
    if several:
        notes.append(
            f"In {several} pictures the table has several faces: the largest is taken, else the one detected with the "
            "highest score, else the first."
        )
    if short:
        notes.append(f"{short} pictures are joined by their file names alone, in other folders than the dataset's.")
    if unclear:
        notes.append(f"{unclear} pictures of the table could be several of the dataset's, and are passed over.")
    if unmatched := len(every) - len(matched) - unclear:
        notes.append(f"{unmatched} pictures of the table are not in the dataset.")
    return faces, notes


def _match(
    file: Path, pictures: Sequence[tuple[str, ...]], naming: Mapping[str, str]
) -> tuple[dict[tuple[str, ...], str], int, int]:
    """The crop of each picture of the table by one ``naming``; how many are joined by the last part alone, or unclear.

    The longest end of the path that any crop has decides. Raises :class:`~fer_cli.errors.DatasetError` if two pictures
    have equally much of the name of one crop.
    """
    ends: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for crop, name in naming.items():
        parts = _parts(name)
        for length in range(1, len(parts) + 1):
            ends[parts[-length:]].add(crop)
    found: dict[str, tuple[int, tuple[str, ...]]] = {}
    unclear = 0
    for parts in pictures:
        length = next((each for each in range(len(parts), 0, -1) if parts[-each:] in ends), 0)
        crops = ends[parts[-length:]] if length else set()
        if len(crops) != 1:
            unclear += bool(crops)
            continue
        [crop] = crops
        before = found.get(crop, (0, ()))
        if before[0] == length:
            raise DatasetError(
                f"{file} has two pictures that could be {naming[crop]} of the dataset: {'/'.join(before[1])} and "
                f"{'/'.join(parts)}.",
                hint="Name the pictures by their path in the dataset.",
            )
        found[crop] = max(before, (length, parts))
    whole = {crop: len(_parts(naming[crop])) for crop in found}
    short = sum(length == 1 < min(whole[crop], len(parts)) for crop, (length, parts) in found.items())
    return {parts: crop for crop, (_, parts) in found.items()}, short, unclear


def _parts(name: str) -> tuple[str, ...]:
    """A path's folders and its file without the ending, in one case and form: what is the same on any system."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    file = PurePosixPath(parts[-1] if parts else "")
    stem = file.stem if file.suffix.lower() in PICTURES else file.name
    return (*map(folded, parts[:-1]), folded(stem))


def _sources(dataset: PreparedDataset) -> dict[str, str]:
    """The picture that each crop was made from, by the crop's ``file_name``, where the dataset says so."""
    entries = Journal(dataset.path).entries
    crops = set(dataset.metadata["file_name"])
    return {name: entry["source"] for name, entry in entries.items() if name in crops and entry.get("source")}


def _chosen(faces: Sequence[Face]) -> Face:
    """The largest of several faces of a picture, else that of the highest score, else the first."""
    return max(faces, key=lambda face: (np.nan_to_num(face.area, nan=-1), np.nan_to_num(face.detection, nan=-1)))


def _some(names: Sequence[str]) -> str:
    shown = [as_text(name)[:80] for name in list(names)[:_EXAMPLES]]
    return ", ".join(shown) + (" …" if len(names) > _EXAMPLES else "")
