"""MMI Facial Expression Database (Pantic et al., ICME 2005; Valstar & Pantic, LREC 2010), from its videos."""

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from xml.etree import ElementTree
from xml.parsers import expat

from fer_cli.corpora.base import Corpus, Frame, Reading, Sequence, Terms
from fer_cli.corpora.io import about_the_middle, files_below, frame_count, why_unreadable
from fer_cli.corpora.layouts import COPY, unexplained
from fer_cli.faces.formats import is_picture
from fer_cli.files import read_bytes

CODES = {1: "anger", 2: "disgust", 3: "fear", 4: "happiness", 5: "sadness", 6: "surprise"}
CLIP = re.compile(r"(S\d{3})-(\d{3})\.(avi|mpg|mpeg|mp4|mov)", re.IGNORECASE)
#: The cameras of ``<track view="…">``.
FRONTAL, PROFILE, BOTH = "0", "1", "2"
#: The markers of an action unit's annotation.
APEX, OFFSET = "2", "3"
#: MMI's XML files have a few kilobytes.
MAX_XML_BYTES = 1_000_000
#: A code, or the number of a frame.
NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True)
class Mmi(Corpus):
    """``Sessions/1841/`` holds ``session.xml``, ``S035-004.avi``, and sometimes when action units are at their apex."""

    name: ClassVar[str] = "mmi"
    title: ClassVar[str] = "MMI"
    summary: ClassVar[str] = "MMI Facial Expression Database: frontal videos of six expressions."
    terms: ClassVar[Terms] = Terms(
        "MMI Facial Expression Database (Pantic, Valstar et al.)", "research only, by agreement", "https://mmifacedb.eu"
    )
    layout: ClassVar[str] = "Sessions/1841/session.xml\nSessions/1841/S035-004.avi\nSessions/1841/S035-004-oao_aucs.xml"
    classes: ClassVar[str] = "6"
    examples: ClassVar[tuple[str, ...]] = ("fer prepare mmi ~/corpora/MMI",)

    def find(self, root: Path) -> Path | None:
        """``root``, if a session's XML is anywhere below it."""
        return root if any(path.name == "session.xml" for path in files_below(root)) else None

    def read(self, root: Path, *, apex_frames: int = 3) -> Reading:
        """Every clip with one of the six emotions that shows the face from the front.

        The first frame is neutral. The apex is where most action units are at theirs, or, where nobody annotated them,
        assumed to be about the middle. The pictures are often stored sideways: the way up follows from the face.
        """
        reading = Reading()
        sessions: set[str] = set()
        met: set[tuple[str, str]] = set()
        for path in files_below(root):
            if path.name == "session.xml":
                sessions.add(path.parent.name)
                self._read_session(path, apex_frames, met, reading)
            elif CLIP.fullmatch(path.name):
                if not path.with_name("session.xml").is_file():
                    reading.skip(path, "a clip without its session.xml")
            elif is_picture(path):
                reading.skip(path, "a still, not a video", fault=False)
            elif path.suffix.lower() != ".xml":
                reading.skipped.append(unexplained(path, self.title))
        reading.found["sessions"] = len(sessions)
        return reading

    def _read_session(self, description: Path, apex_frames: int, met: set[tuple[str, str]], reading: Reading) -> None:
        folder = description.parent
        session = _parsed(description, reading)
        if session is None:
            return
        clips = sorted(path for path in folder.iterdir() if CLIP.fullmatch(path.name))
        if not clips:
            reading.skip(folder, "a session without a video", fault=False)
        for clip in clips:
            if (original := (folder.name, clip.stem.upper())) in met:
                reading.skip(clip, COPY, fault=False)
                continue
            met.add(original)
            reading.found["clips"] += 1
            code = _emotion(session, clip, reading)
            if code is None:
                reading.skip(clip, "no emotion label", fault=False)
            elif code not in CODES:
                reading.skip(clip, f"emotion {code} is none of the six", fault=False)
            elif _view(session, clip) == PROFILE:
                reading.skip(clip, "seen in profile only", fault=False)
            else:
                reading.found["labelled"] += 1
                self._read_clip(clip, CODES[code], _view(session, clip) == BOTH, apex_frames, reading)

    def _read_clip(self, clip: Path, label: str, both: bool, apex_frames: int, reading: Reading) -> None:
        count = frame_count(clip)
        if count is None or count < 2:
            reading.skip(clip, why_unreadable(clip))
            return
        units = clip.with_name(f"{clip.stem}-oao_aucs.xml")
        annotation = _parsed(units, reading) if units.is_file() else None
        apex = [] if annotation is None else _at_most_apexes(annotation, count, apex_frames)
        source = "annotated" if apex else "assumed"
        frames = (0, *(apex or about_the_middle(count, apex_frames)))
        reading.records.append(
            Sequence(
                clip.name.partition("-")[0].upper(),
                f"{clip.parent.name}-{clip.stem}",
                tuple(Frame(clip, index=index, kind="video", turned=True, halves=both) for index in frames),
                label,
                neutral=0,
                apexes=tuple(range(1, len(frames))),
                apex_source=source,
                view="both" if both else None,
            )
        )


def _parsed(path: Path, reading: Reading) -> ElementTree.Element | None:
    try:
        return _tree(read_bytes(path, MAX_XML_BYTES))
    except Exception:  # the parser's errors, and whatever the codec that the document names raises
        reading.skip(path, "an XML file that cannot be read")
        return None


def _tree(content: bytes) -> ElementTree.Element:
    """The elements of a document that declares no entities: these grow without end, or nest until expat crashes.

    Raises ``ValueError`` where one is declared, and what expat raises.
    """

    def refuse(*_: object) -> None:
        raise ValueError("an entity is declared")

    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.EntityDeclHandler = refuse
    parser.StartElementHandler, parser.EndElementHandler = builder.start, builder.end
    with warnings.catch_warnings():
        # Of a codec that a document may name.
        warnings.simplefilter("ignore")
        parser.Parse(content, True)
    return builder.close()


def _emotion(session: ElementTree.Element, clip: Path, reading: Reading) -> int | None:
    """The code, selected by its name: its place among the other tags differs between sessions."""
    own = clip.with_suffix(".xml")
    described = _parsed(own, reading) if own.is_file() else None
    for element in (session, described):
        for tag in element.iter("Metatag") if element is not None else ():
            if tag.get("Name") == "Emotion":
                value = (tag.get("Value") or "").strip()
                return int(value) if NUMBER.fullmatch(value) else -1
    return None


def _view(session: ElementTree.Element, clip: Path) -> str:
    tracks = [track for track in session.iter("track") if track.get("view") is not None]
    named = [track for track in tracks if clip.stem in (track.get("filename") or "")]
    chosen = named or tracks
    return chosen[0].get("view", FRONTAL) if chosen else FRONTAL


def _at_most_apexes(annotation: ElementTree.Element, count: int, wanted: int) -> list[int]:
    """Up to ``wanted`` frames, counted from 0, about the middle of when most action units are at their apex."""
    import numpy as np

    # How many units more than in the frame before are at their apex.
    change = np.zeros(count + 1, dtype=np.int64)
    for unit in annotation.iter("ActionUnit"):
        markers = sorted(
            (int(marker.get("Frame", "")) - 1, marker.get("Type", ""))
            for marker in unit.iter("Marker")
            if NUMBER.fullmatch(marker.get("Frame", ""))
        )
        until = None
        for frame, kind in reversed(markers):
            if kind == OFFSET:
                until = frame
            elif kind == APEX:
                start, end = max(1, frame), min(count, frame + 1 if until is None else until)
                if start < end:
                    change[[start, end]] += (1, -1)
    at_apex = np.cumsum(change[:count])
    most = at_apex.max()
    if not most:
        return []
    run = np.flatnonzero(at_apex == most)
    start = max(0, (len(run) - wanted) // 2)
    return [int(place) for place in run[start : start + wanted]]
