"""What a person who reads the documentation has, made of drawn faces: corpora, pictures, albums, videos, tables.

``home/corpora/CK+`` are archives as CK+'s owners send them; ``home/start`` is what each page's folder begins with.
"""

import csv
import random
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

#: The numbers in CK+'s label files, and the order of FER+'s votes.
CODES = dict(enumerate(("neutral", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")))
VOTES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF")
#: The archives of CK+, and the folders in them.
ARCHIVES = {
    "extended-cohn-kanade-images.zip": "cohn-kanade-images",
    "Emotion_labels.zip": "Emotion",
    "Landmarks.zip": "Landmarks",
}
FER2013 = {"FER2013Train": "Training", "FER2013Valid": "PublicTest", "FER2013Test": "PrivateTest"}
SUBJECTS, FRAMES = 12, 4


@dataclass(frozen=True)
class Take:
    """A drawn person's sequence from neutral to an expression."""

    subject: str
    label: str
    frames: tuple[Path, ...]


def make(home: Path, run: Callable[[str, Path], None]) -> None:
    """Make the home folder; ``run`` runs lines of a shell in a folder, with the program on its path."""
    start, drawn = home / "start", home / "drawn"
    start.mkdir(parents=True)
    run(f"fer prepare synthetic {drawn} --subjects {SUBJECTS} --frames {FRAMES} --out {home}/prepared", home)
    archive(drawn, home / "corpora" / "CK+")
    run(f"fer prepare ckplus {home}/corpora/CK+", start)
    takes = list(takes_of(drawn))
    pictures(start, takes)
    labelled(start, takes)
    ferplus(start, takes)
    if find_spec("av"):
        videos(start, takes)


def takes_of(drawn: Path) -> Iterator[Take]:
    """The sequences of a corpus in CK+'s layout."""
    for path in sorted(drawn.glob("Emotion/*/*/*.txt")):
        subject, sequence = path.parts[-3:-1]
        frames = sorted((drawn / "cohn-kanade-images" / subject / sequence).glob("*.png"))
        yield Take(subject, CODES[int(float(path.read_text()))], tuple(frames))


def archive(drawn: Path, folder: Path) -> None:
    """CK+'s archives, as they are sent."""
    folder.mkdir(parents=True)
    for name, part in ARCHIVES.items():
        with zipfile.ZipFile(folder / name, "w") as file:
            for path in sorted((drawn / part).rglob("*.*")):
                file.write(path, path.relative_to(drawn))


def save(source: Path, target: Path, size: int | None = None) -> None:
    """A drawn picture in the format that the target's name says, in grey at a size."""
    target.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.open(source)
    if size is not None:
        # The face, without what is around it.
        picture = picture.crop((185, 105, 455, 375)).convert("L").resize((size, size))
    picture.save(target)


def pictures(start: Path, takes: list[Take]) -> None:
    """``images``, two albums of the same people, holiday pictures, and the pictures that Python's lines name."""
    for number, take in enumerate(takes):
        where = f"{take.subject}-{take.label}.jpg"
        if number % 7 < 2:
            save(take.frames[-1], start / "images" / where)
        if number % 7 < 4:
            album = start / f"album-{2025 + number % 2}"
            save(take.frames[-1], album / where)
            save(take.frames[0], album / f"{take.subject}-{number}-rest.jpg")
        if number < 8:
            save(take.frames[-1], start / "holiday" / take.subject / where)
    for name, take in zip(("face", "anna", "group"), takes[::7], strict=False):
        save(take.frames[-1], start / f"{name}.jpg")
    save(takes[7].frames[0], start / "anna-at-rest.jpg")


def labelled(start: Path, takes: list[Take]) -> None:
    """Pictures whose paths say who shows what, and tables that do."""
    table, wild = [("path", "label", "subject")], [("path", "label", "subject")]
    for number, take in enumerate(takes):
        label = {"happiness": "smiling"}.get(take.label, take.label)
        save(take.frames[-1], start / "portraits" / label / f"{take.subject}.jpg")
        for frame, path in enumerate(take.frames):
            save(path, start / "takes" / take.subject / take.label / f"{frame}.jpg")
        for shown, path in ((take.label, take.frames[-1]), ("neutral", take.frames[0])):
            name = f"{take.subject}/{shown}-{number}.jpg"
            save(path, start / "labelled" / name)
            save(path, start / "wild" / name)
            table.append((name, shown, take.subject))
            wild.append((name, shown, take.subject))
    for name, rows in (("labelled", table), ("wild", wild)):
        with (start / name / "labels.csv").open("w", newline="") as file:
            csv.writer(file).writerows(rows)


def ferplus(start: Path, takes: list[Take]) -> None:
    """FER+ as its program writes it, in an archive, and its table of votes."""
    made, rng = start / "ferplus", random.Random(0)
    rows = [("Usage", "Image name", *VOTES)]
    for number, take in enumerate(takes):
        folder = list(FER2013)[0 if number % 4 < 2 else number % 4 - 1]
        name = f"fer{number:07d}.png"
        save(take.frames[-1], made / folder / name, size=48)
        votes = [0] * len(VOTES)
        votes[VOTES.index(take.label)] = 8
        votes[rng.randrange(len(VOTES) - 2)] += 2
        rows.append((FER2013[folder], name, *votes))
        with (made / folder / "label.csv").open("a", newline="") as file:
            csv.writer(file).writerow((name, "(0, 0, 48, 48)", *votes))
    with (start / "fer2013new.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    with zipfile.ZipFile(start / "ferplus.zip", "w") as file:
        for path in sorted(made.rglob("*.*")):
            file.write(path, path.relative_to(made))
    shutil.rmtree(made)


def videos(start: Path, takes: list[Take]) -> None:
    """A clip, the sessions of a study, and each participant's resting face."""
    import av

    of = {}
    for take in takes:
        of.setdefault(take.subject, []).append(take)
    names = {"p07": "sessions/p07-task1.mp4", "p08": "sessions/p08-task1.mp4", "": "clip.mp4"}
    for (person, name), shown in zip(names.items(), of.values(), strict=False):
        path = start / name
        path.parent.mkdir(exist_ok=True)
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg4", rate=10)
            stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 640, 490, "yuv420p", 4_000_000
            for picture in (frame for take in shown[:3] for frame in take.frames for _ in range(3)):
                image = Image.open(picture).convert("RGB")
                container.mux(stream.encode(av.VideoFrame.from_image(image)))
            container.mux(stream.encode())
        if person:
            save(shown[0].frames[0], start / "resting" / f"{person}.jpg")


def shell(line: str, folder: Path, environment: dict[str, str], seconds: float) -> subprocess.CompletedProcess:
    """Lines of a shell in a folder; the first that fails ends them."""
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", line],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
