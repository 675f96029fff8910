"""From records to samples: which pictures are used, as what, and which neutral picture each is paired with."""

from collections import defaultdict
from dataclasses import dataclass, field, replace

from fer_cli.corpora.record import Frame, LeftOut, Sequence, Still
from fer_cli.labels import NEUTRAL


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture that the dataset needs.

    ``role`` is ``neutral`` for a face at rest, ``apex`` for one that shows its label. ``neutral`` is the picture of
    the same subject that it is compared with, never itself, and None where there is no other.
    """

    frame: Frame
    label: str
    subject: str | None
    sequence: str | None
    role: str
    neutral: Frame | None = None
    split: str | None = None


@dataclass(slots=True)
class Pairing:
    """The samples of a corpus, and what the rules left out."""

    samples: list[Sample] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


def pair(records: list[Sequence | Still], classes: tuple[str, ...]) -> Pairing:
    """The samples that ``classes`` ask for, each apex with a neutral picture of the same subject.

    In a sequence the apex frames are compared with that sequence's neutral frame; a still with its subject's first
    neutral still. A neutral picture is a sample of its own only where ``neutral`` is among the classes; it is then
    compared with *another* neutral picture of the subject (the next sequence's first frame, the next take), since a
    picture compared with itself makes the difference zero and the answer trivial.
    """
    pairing = Pairing()
    wanted = [record for record in records if _belongs(record, classes, pairing.left_out)]
    for record in wanted:
        if isinstance(record, Sequence):
            pairing.samples.extend(_from_sequence(record))
    pairing.samples.extend(_from_stills([record for record in wanted if isinstance(record, Still)], pairing.left_out))
    pairing.samples = _pair_neutrals(pairing.samples, classes, pairing.left_out)
    return pairing


def unpaired(samples: list[Sample], classes: tuple[str, ...]) -> list[Sample]:
    """The samples that show one of ``classes``, compared with nothing."""
    return [replace(sample, neutral=None) for sample in samples if sample.label in classes]


def _belongs(record: Sequence | Still, classes: tuple[str, ...], left_out: list[LeftOut]) -> bool:
    where = str(record.frames[0].path.parent if isinstance(record, Sequence) else record.frame.path)
    if record.label is None:
        left_out.append(LeftOut(where, "no emotion label", fault=False))
        return False
    # A neutral still is wanted as a reference even where neutral is no class.
    if record.label not in classes and not (record.label == NEUTRAL and isinstance(record, Still)):
        left_out.append(LeftOut(where, f"{record.label} is not among the classes", fault=False))
        return False
    return True


def _from_sequence(sequence: Sequence) -> list[Sample]:
    def sample(index: int, role: str, label: str, neutral: Frame | None) -> Sample:
        return Sample(sequence.frames[index], label, sequence.subject, sequence.sequence, role, neutral)

    rest = None if sequence.neutral is None else sequence.frames[sequence.neutral]
    samples = [] if rest is None else [sample(sequence.neutral, "neutral", NEUTRAL, None)]
    return samples + [sample(index, "apex", sequence.label, rest) for index in sequence.apexes]


def _from_stills(stills: list[Still], left_out: list[LeftOut]) -> list[Sample]:
    reference: dict[tuple[str, str | None], Frame] = {}
    for still in stills:
        if still.label == NEUTRAL and still.subject is not None:
            reference.setdefault((still.subject, still.view), still.frame)
    samples = []
    for still in stills:
        resting = still.label == NEUTRAL
        neutral = None if resting or still.subject is None else reference.get((still.subject, still.view))
        if not resting and still.subject is not None and neutral is None:
            left_out.append(
                LeftOut(str(still.frame.path), "no neutral picture of this subject (unpaired)", fault=False)
            )
        role = "neutral" if resting else "apex"
        samples.append(Sample(still.frame, still.label, still.subject, None, role, neutral, still.split))
    return samples


def _pair_neutrals(samples: list[Sample], classes: tuple[str, ...], left_out: list[LeftOut]) -> list[Sample]:
    """Give each neutral sample another neutral picture, or drop those that nothing needs.

    Sequences may share a neutral picture (a corpus with one neutral clip a subject): it is one sample all the same.
    """
    samples = _each_neutral_once(samples)
    if NEUTRAL not in classes:
        needed = {sample.neutral for sample in samples}
        return [sample for sample in samples if sample.role != "neutral" or sample.frame in needed]
    at_rest = defaultdict(list)
    for sample in samples:
        if sample.role == "neutral" and sample.subject is not None:
            at_rest[sample.subject].append(sample.frame)
    paired = []
    for sample in samples:
        if sample.role == "neutral" and sample.subject is not None:
            frames = at_rest[sample.subject]
            if len(frames) > 1:
                another = frames[(frames.index(sample.frame) + 1) % len(frames)]
                sample = replace(sample, neutral=another)
            else:
                left_out.append(
                    LeftOut(
                        str(sample.frame.path),
                        "no second neutral picture of this subject (unpaired)",
                        fault=False,
                    )
                )
        paired.append(sample)
    return paired


def _each_neutral_once(samples: list[Sample]) -> list[Sample]:
    met: set[Frame] = set()
    once = []
    for sample in samples:
        if sample.role == "neutral":
            if sample.frame in met:
                continue
            met.add(sample.frame)
        once.append(sample)
    return once
