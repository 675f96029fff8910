"""CK+ made anew: the owners' tree with the published counts, and pictures without content."""

from collections import Counter
from pathlib import Path

CODES = {"anger": 1, "contempt": 2, "disgust": 3, "fear": 4, "happiness": 5, "sadness": 6, "surprise": 7}
#: The published counts of the labelled sequences.
COUNTS = {"surprise": 83, "happiness": 69, "disgust": 59, "anger": 45, "sadness": 28, "fear": 25, "contempt": 18}
#: Sequences a fold under the published rule.
FOLDS = (33, 39, 40, 35, 30, 37, 29, 29, 33, 22)
SEQUENCES = 593
#: How many subjects show contempt and nothing else, whom work on six classes leaves out.
CONTEMPT_ONLY = 12
LABELLED = [f"S{number:03d}" for number in range(5, 5 + 118)]
UNLABELLED = [f"S{number:03d}" for number in (1, 2, 500, 501, 999)]


def sequence(
    root: Path,
    subject: str,
    number: str,
    *,
    label: str | None = None,
    frames: int = 5,
    first: int = 1,
    landmarks: bool = False,
) -> list[Path]:
    """One sequence as the owners ship it; returns its frames."""
    folder = root / "cohn-kanade-images" / subject / number
    folder.mkdir(parents=True)
    paths = []
    # The last is written first: nobody promises an order.
    for frame in reversed(range(first, first + frames)):
        paths.insert(0, folder / f"{subject}_{number}_{frame:08d}.png")
        paths[0].touch()
        if landmarks:
            points = root / "Landmarks" / subject / number / f"{paths[0].stem}_landmarks.txt"
            points.parent.mkdir(parents=True, exist_ok=True)
            points.write_text("   1.0000000e+00   2.0000000e+00\n" * 68)
    emotion = root / "Emotion" / subject / number
    emotion.mkdir(parents=True)
    if label is not None:
        (emotion / f"{paths[-1].stem}_emotion.txt").write_text(f"   {CODES[label]:.7e}\n")
    return paths


def plan() -> dict[str, list[str]]:
    """The labels of each subject's sequences, such that every published count comes out."""
    labels_of: dict[str, list[str]] = {subject: [] for subject in LABELLED}
    left = Counter(COUNTS)
    only = [LABELLED[fold::10][0] for fold in range(10)] + [LABELLED[fold::10][1] for fold in range(2)]
    for subject in only:
        labels_of[subject].append("contempt")
    left["contempt"] -= CONTEMPT_ONLY
    for fold, wanted in reversed(list(enumerate(FOLDS))):
        subjects = [subject for subject in LABELLED[fold::10] if subject not in only]
        for place in range(wanted - sum(subject in only for subject in LABELLED[fold::10])):
            # The published last fold has no fear.
            possible = [label for label in left if left[label] and (fold < 9 or label != "fear")]
            label = max(possible, key=left.__getitem__)
            left[label] -= 1
            labels_of[subjects[place % len(subjects)]].append(label)
    assert not any(left.values())
    return labels_of


def golden_tree(root: Path) -> Path:
    """593 sequences of 123 subjects, 327 of 118 subjects labelled."""
    made = 0
    for subject, labels in plan().items():
        for number, label in enumerate(labels, start=1):
            sequence(root, subject, f"{number:03d}", label=label, frames=4)
            made += 1
    subjects = UNLABELLED + LABELLED
    for place in range(SEQUENCES - made):
        sequence(root, subjects[place % len(subjects)], f"{100 + place:03d}", frames=2)
    return root
