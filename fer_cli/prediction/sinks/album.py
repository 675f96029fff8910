"""Page of an album: faces by person and expression, videos over time, and what was skipped, in one HTML file."""

import base64
import hashlib
import heapq
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any, Self

import numpy as np
from markupsafe import Markup

import fer_cli
from fer_cli.files import as_text, written_whole
from fer_cli.pages import Pictures, encode_jpeg, environment
from fer_cli.prediction.options import MEAN
from fer_cli.prediction.results import FacePrediction, Frame, FrameResult, Skipped, Summary, face_name
from fer_cli.prediction.sinks import Sink, write_errors
from fer_cli.prediction.sinks.thumbnails import QUALITY, SIDE, ThumbnailReader, Thumbnails
from fer_cli.prediction.sinks.timelines import CHART, Peaks, Track, drawn, hue, track_of

PACKAGE, TEMPLATE, SCRIPT = "fer_cli.prediction.sinks", "album.html.jinja", "album.js"
TEMPLATES = (TEMPLATE, "album.css")
#: At most so many faces of pictures are on a page, of which at most so many for being the least certain; the others
#: are the most certain of each expression.
MOST_FACES, LEAST_CERTAIN = 5_000, 4_000
#: What all thumbnails of a page come to at most, in bytes as they stand in it.
MOST_BYTES = 36_000_000
#: Tracks shown of a video, the longest first, and of all videos.
MOST_TRACKS, MOST_TRACKS_IN_ALL = 8, 200
#: Reasons for skipping that are told apart, and people in the table of people.
MOST_REASONS, MOST_PEOPLE = 100, 100


#: Called with the name of a neutral face and that of the face compared with it: its pixels, H×W×3 uint8 RGB, or None.
Profiles = Callable[[str, str], np.ndarray | None]


@dataclass(order=True)
class _Shown:
    """A face of a picture, the ``number``-th of the album; it is compared by ``rank``, for a heap."""

    rank: tuple[float, int]
    number: int = field(compare=False)
    frame: Frame = field(compare=False)
    face: FacePrediction = field(compare=False)


class FaceSelection:
    """The ``least`` faces that a model is least certain of, and of each label the surest ones, ``most`` in all."""

    def __init__(self, classes: int, most: int = MOST_FACES, least: int = LEAST_CERTAIN):
        self.seen = 0
        self.least = least
        self.surest = max(0, (most - least) // max(1, classes))
        self._least: list[_Shown] = []
        self._surest: dict[str, list[_Shown]] = {}

    def add(self, frame: Frame, face: FacePrediction) -> None:
        """Add a face."""
        number, self.seen = self.seen, self.seen + 1
        # The first in the heap goes when there are too many: the surest, and of equals the last.
        out = _push(self._least, _Shown((-face.confidence, -number), number, frame, face), self.least)
        if out is not None and self.surest:
            kept = self._surest.setdefault(out.face.label, [])
            _push(kept, _Shown((out.face.confidence, -out.number), out.number, out.frame, out.face), self.surest)

    def faces(self) -> list[_Shown]:
        """The faces selected, the least certain first."""
        found = [*self._least, *(shown for kept in self._surest.values() for shown in kept)]
        return sorted(found, key=lambda shown: (shown.face.confidence, shown.number))


def _push(heap: list[_Shown], shown: _Shown, most: int) -> _Shown | None:
    """Add to a heap of at most ``most``; what has to go for it is returned."""
    if len(heap) < most:
        heapq.heappush(heap, shown)
        return None
    return heapq.heappushpop(heap, shown)


class AlbumPage(Sink):
    """The page at ``path``, written when all results are there.

    ``classes`` are the model's, ``names`` the sources, ``about`` the model's name with its stated scores, and
    ``thumbnails`` those that were stored when the results were made. ``profiles`` gives pictures of neutral faces that
    are not among these.
    """

    def __init__(
        self,
        path: Path,
        thumbnails: Thumbnails,
        *,
        classes: Sequence[str],
        names: Sequence[str],
        about: str = "",
        profiles: Profiles | None = None,
    ):
        self._path, self._thumbnails, self._profiles = path, thumbnails, profiles
        self._classes, self._names, self._about = list(classes), names, about
        self._selection = FaceSelection(len(classes))
        self._summary = Summary()
        self._people: dict[str, Counter[str]] = {}
        self._neutrals: Counter[str] = Counter()
        self._reasons: Counter[tuple[str, bool]] = Counter()
        self._examples: dict[tuple[str, bool], str] = {}
        self._videos: list[dict[str, Any]] = []
        self._tracks_in_all = 0
        self._folder: str | None = None
        self._begin_video()

    def __enter__(self) -> Self:
        # Better now than when all is done.
        with write_errors(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
        return self

    def write(self, result: FrameResult) -> None:
        """Add a result."""
        frame = result.frame
        self._summary.count(result)
        for skipped in result.skipped:
            self._skip(frame, skipped)
        for face in result.faces:
            # Its crop, which is only there as it is made, would be kept for thousands of faces.
            face = replace(face, crop=None, aligned=None, identity=None)
            self._people.setdefault(face.person, Counter())[face.label] += 1
            self._neutrals[("given" if face.neutral != MEAN else MEAN) if face.neutral else ""] += 1
            if frame.number is None:
                self._selection.add(frame, face)
            else:
                self._follow(frame, face)
        if result.faces:
            parent = str(Path(as_text(frame.path)).parent)
            self._folder = parent if self._folder is None else _common(self._folder, parent)
        if frame.end:
            self._end_video(frame)
        elif frame.number is not None:
            self._place += 1

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> bool | None:
        if kind is None:
            with write_errors(self._path), self._thumbnails.reading() as thumbnails:
                context = self._context(_Album(thumbnails, self._shorten, self._profiles))
                template = environment(PACKAGE, TEMPLATES, share="{:.0%}".format).get_template(TEMPLATE)
                with (
                    written_whole(self._path) as part,
                    part.open("w", encoding="utf-8", errors="backslashreplace") as file,
                ):
                    stream = template.stream(context)
                    stream.enable_buffering(100)
                    file.writelines(stream)
        return None

    def _skip(self, frame: Frame, skipped: Skipped) -> None:
        reason = as_text(skipped.reason)
        key = reason if (reason, skipped.fault) in self._reasons or len(self._reasons) < MOST_REASONS else ""
        self._reasons[key, skipped.fault] += 1
        self._examples.setdefault((key, skipped.fault), as_text(frame.path))

    def _begin_video(self) -> None:
        self._place, self._peaks = 0, Peaks()
        self._tracks: dict[int, Track] = {}

    def _follow(self, frame: Frame, face: FacePrediction) -> None:
        self._peaks.add(frame, face)
        if (number := track_of(face)) is not None:
            track = self._tracks.setdefault(number, Track(number, tuple(face.probabilities)))
            track.add(self._place, frame.time or 0.0, face)

    def _end_video(self, frame: Frame) -> None:
        longest = sorted(self._tracks.values(), key=lambda track: (-len(track), track.number))
        shown = longest[: min(MOST_TRACKS, MOST_TRACKS_IN_ALL - self._tracks_in_all)]
        self._tracks_in_all += len(shown)
        if longest:
            tracks = [track.timeline(self._peaks.of(track.number)) for track in shown]
            more = len(longest) - len(shown)
            self._videos.append({"path": as_text(frame.path), "tracks": tracks, "more": more, "frames": self._place})
        self._begin_video()

    def _shorten(self, name: str) -> str:
        """A path as it stands in the folder that all pictures lie in."""
        return name.removeprefix(f"{self._folder}{os.sep}") if self._folder else name

    def _context(self, album: "_Album") -> dict[str, Any]:
        shown = self._selection.faces()
        people = sorted(self._people, key=lambda name: (not name, -self._people[name].total(), name))
        labels = self._classes + sorted({*self._summary.labels} - {*self._classes})
        for each in shown:
            album.neutral_class(each.face.neutral, album.own(each.frame, each.face))
        for video in self._videos:
            for track in video["tracks"]:
                album.neutral_class(track.neutral)
        script = (resources.files(PACKAGE) / SCRIPT).read_text(encoding="utf-8")
        total = max(1, self._summary.faces)
        return {
            "title": ", ".join(map(as_text, self._names)) or "Album",
            "about": as_text(self._about),
            "folder": self._folder or "",
            "summary": self._summary,
            "counts": [
                (name, hue(name, labels), self._summary.labels[name], self._summary.labels[name] / total)
                for name in sorted(labels, key=lambda name: -self._summary.labels[name])
            ],
            "people": [
                (number, as_text(name), self._people[name].total(), self._people[name].most_common(3))
                for number, name in enumerate(people)
            ],
            "most_people": MOST_PEOPLE,
            "named": any(people),
            "labels": labels,
            "compared": self._compared(),
            "shown": len(shown),
            "pictured": self._selection.seen,
            "selection": self._selection,
            "groups": _grouped(shown, people, labels),
            "videos": self._videos,
            "reasons": [
                ({True: "skipped", False: "note"}[fault], reason or "other reasons", count, example)
                for (reason, fault), count in sorted(self._reasons.items(), key=lambda item: -item[1])
                for example in [self._shorten(self._examples[reason, fault])]
            ],
            "number_of": {name: number for number, name in enumerate(people)},
            "hue": lambda label: hue(label, labels),
            "chart": CHART,
            "draw": lambda timeline: drawn(timeline, labels),
            "album": album,
            "script": Markup(script),
            "digest": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            "version": fer_cli.__version__,
        }

    def _compared(self) -> str:
        parts = []
        if own := self._neutrals["given"]:
            parts.append(f"{own} faces with a neutral picture")
        if mean := self._neutrals[MEAN]:
            parts.append(f"{mean} with the training’s average neutral face (mean)")
        return ", ".join(parts)


def _common(one: str, other: str) -> str:
    """The folder in which both lie; empty where there is none."""
    try:
        return os.path.commonpath([one, other])
    except ValueError:
        return ""


class _Album:
    """The pictures on the page, and what a template says of a face."""

    def __init__(self, thumbnails: ThumbnailReader, shorten: Callable[[str], str], profiles: Profiles | None = None):
        self._thumbnails, self.shorten, self._profiles = thumbnails, shorten, profiles
        self._pictures = Pictures(MOST_BYTES)
        self._classes: dict[str | bytes, str | None] = {}

    def address(self, frame: Frame, face: FacePrediction) -> str | None:
        """A face's thumbnail."""
        found = self._thumbnails.of(frame, face.number)
        return None if found is None else self._pictures.address(found)

    def neutral_class(self, name: str, own: str = "") -> str | None:
        """The class of the style that shows the neutral face of the face ``own``; None where there is no picture."""
        called = as_text(name)
        key: str | bytes = called
        if not key or key == MEAN:
            return None
        if self._profiles is not None and (pixels := self._profiles(called, own)) is not None:
            key = encode_jpeg(pixels, SIDE, QUALITY)
        if key not in self._classes:
            there = isinstance(key, bytes) or self._thumbnails.named(key) is not None
            self._classes[key] = f"n{len(self._classes)}" if there else None
        return self._classes[key]

    def neutrals(self) -> Iterator[tuple[str, str]]:
        """The classes of neutral faces, each once however many are compared with it, and their pictures' addresses."""
        for key, style in self._classes.items():
            jpeg = key if isinstance(key, bytes) else self._thumbnails.named(key)
            found = None if style is None or jpeg is None else self._pictures.address(jpeg)
            if found is None or style is None:
                self._classes[key] = None
            else:
                yield style, Markup(found)

    def name(self, frame: Frame, face: FacePrediction) -> str:
        """A face's picture, and which face of it."""
        return self.shorten(as_text(frame.path)) + (f", face {face.number}" if face.number else "")

    @staticmethod
    def own(frame: Frame, face: FacePrediction) -> str:
        """A face's name where it is another's neutral face."""
        return as_text(face_name(frame, face.number))

    def neutral_name(self, name: str) -> str:
        """A neutral face's picture."""
        return "the training’s average" if name == MEAN else self.shorten(as_text(name))

    @staticmethod
    def text(name: str) -> str:
        """A person's name."""
        return as_text(name)

    @staticmethod
    def then(face: FacePrediction) -> list[tuple[str, float]]:
        """The second most probable expression, where it is more than nothing."""
        second = sorted(face.probabilities.items(), key=lambda item: -item[1])[1:2]
        return [item for item in second if item[1] >= 0.005]

    @staticmethod
    def words(face: FacePrediction) -> str:
        """All probabilities from a hundredth up, the highest first."""
        ordered = sorted(face.probabilities.items(), key=lambda item: -item[1])
        return ", ".join(f"{name} {share:.0%}" for name, share in ordered if share >= 0.005)

    @staticmethod
    def strip(face: FacePrediction, number_of: Callable[[str], int]) -> str:
        """The probabilities next to each other as a gradient's stops."""
        stops, reach = [], 0.0
        for label, share in face.probabilities.items():
            begin, reach = reach, reach + 100 * share
            if share >= 0.005:
                stops.append(f"var(--c{number_of(label)}) {begin:.1f}% {reach:.1f}%")
        return ", ".join(stops)


def _grouped(
    shown: list[_Shown], people: Sequence[str], labels: Sequence[str]
) -> list[tuple[str, int, list[tuple[str, list[_Shown]]]]]:
    """The faces by person, then by expression, each group's least certain first."""
    by: dict[str, dict[str, list[_Shown]]] = {}
    for each in shown:
        by.setdefault(each.face.person, {}).setdefault(each.face.label, []).append(each)
    return [
        (
            person,
            sum(map(len, by[person].values())),
            [(label, by[person][label]) for label in labels if label in by[person]],
        )
        for person in people
        if person in by
    ]
