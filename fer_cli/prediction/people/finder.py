"""The people of a store in a prediction: who each face is, and the neutral profile that it is compared with."""

import re
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fer_cli.embeddings.neutral import NeutralMean, unit
from fer_cli.files import as_text
from fer_cli.labels import NEUTRAL
from fer_cli.prediction.neutral.faces import Blobs, EmbeddedFaces, Encoders, embed_faces, face_name
from fer_cli.prediction.neutral.identity import cluster
from fer_cli.prediction.options import MEAN
from fer_cli.prediction.people.matching import DigestIndex, Gallery, face_digest, match_faces, person_confidence
from fer_cli.prediction.people.store import ID, NEUTRALS, PeopleStore, Picture
from fer_cli.prediction.pipeline import FaceExtractor, Neutral
from fer_cli.prediction.results import FacePrediction, Frame, FrameResult, crop_of
from fer_cli.prediction.sinks import Sink
from fer_cli.progress import Progress, silent

#: What a neutral face from a store is called, before the person's id.
PEOPLE = "people"
PROFILE_NAME = re.compile(rf"{PEOPLE}:{ID}(\d{{1,18}}) \(\d+ pictures?\)")
#: The side of a stored crop, in pixels, and its quality as a JPEG.
CROP_SIZE, CROP_QUALITY = 112, 90
#: Profiles and matches in memory; others are read or made again.
CACHED = 512
#: Pictures that wait to be stored together.
TOGETHER = 64
DIGEST = 16


class StoredPeople:
    """Who each face is, as a store says that is kept from one album to the next.

    Fitted, it clusters the album's faces, matches the clusters with the stored people, and stores what is new, before
    the first row is made. Of pictures that can be read only once, each face is matched as it comes. :meth:`neutral_for`
    gives the mean embedding of a person's stored neutral pictures without the picture itself, and the training's
    ``mean`` where none is left. ``tell`` is called with a line on what is used and found.
    """

    def __init__(
        self,
        store: PeopleStore,
        encoders: Encoders,
        mean: NeutralMean | None,
        *,
        tell: Callable[[str], None] = lambda _: None,
        progress: Progress = silent,
    ):
        self._store, self._encoders, self._identity = store, encoders, encoders.identity
        self._tell, self._progress = tell, progress
        self._mean = None if mean is None else Neutral(MEAN, embedding=mean.mean.numpy())
        self._tracks: dict[tuple[int, int], int] = {}
        self._matched: dict[bytes, tuple[int, np.ndarray]] = {}
        self._faces: _AlbumFaces | None = None
        self._album: int | None = None
        self._stored: dict[FaceKey, FacePrediction] = {}
        self._snapshot()
        self._profile = lru_cache(CACHED)(self._read_profile)

    @property
    def folder(self) -> Path:
        """The store's folder."""
        return self._store.path.parent

    def resume(self, results: Iterable[FrameResult]) -> None:
        """Note whose surest pictures are among results that are stored already, without crops, before :meth:`fit`.

        A process that was killed may not have kept them.
        """
        surest: dict[tuple[str, str], tuple[float, FaceKey, FacePrediction]] = {}
        for result in results:
            for face in result.faces:
                best = surest.get((face.person, face.label))
                if face.label != NEUTRAL and (best is None or face.confidence > best[0]):
                    surest[face.person, face.label] = face.confidence, _key(result.frame, face), face
        self._stored = {key: face for _, key, face in surest.values()}

    def fit(self, frames: Iterable[Frame] | None, extract: FaceExtractor) -> None:
        """Recognise the people of all ``frames`` and store them; None where frames can be read only once."""
        identity, folder = self._identity, self.folder
        self._tell(f"identity  {identity.about}; one person up to a distance of {identity.threshold:.3g}")
        if frames is None:
            self._tell(f"people    {folder}: each face is matched as it comes; no neutral picture is searched for")
            return
        if self._encoders.scorer is not None:
            self._tell(f"neutral   scored by {self._encoders.scorer.about}")
        faces = _AlbumFaces(self._encoders, self._stored)
        embed_faces(frames, extract, self._encoders, faces, self._progress)
        if faces.note:
            self._tell(faces.note)
        clusters = faces.cluster(identity.threshold, identity.centre)
        before = set(self._gallery.numbers.tolist())
        today = date.today()
        with self._store.writing():
            self._parts = match_faces(
                self._store,
                faces.digests(),
                faces.identities(),
                clusters,
                threshold=identity.threshold,
                centre=identity.centre,
                today=today,
                album=self._number_album(),
            )
            for row in _most_neutral(self._parts, np.array(faces.scores), np.array(faces.certain, bool)):
                self._store.offer(int(self._parts[row]), faces.picture(row))
            for row, face in faces.kept.items():
                self._store.offer(int(self._parts[row]), faces.picture(row, face))
        self._faces = faces
        self._index = DigestIndex(faces.digest_keys())
        self._snapshot()
        self._profile.cache_clear()
        self._tell(f"people    {folder}: {self._summary(before)}")

    def extracting(self, extract: FaceExtractor) -> FaceExtractor:
        """The extractor, giving what the identity encoder needs of faces that were not there in :meth:`fit`."""
        needed = self._faces is None and getattr(self._identity, "aligned", False)
        return extract.aligning() if needed else extract

    def identify(self, frame: Frame, face: FacePrediction) -> FacePrediction:
        """The face with its person; one that was not there in :meth:`fit` is matched, and stored, now.

        Called in the order of the frames, by one thread.
        """
        digest = face_digest(crop_of(face))
        row = None if self._faces is None else self._index.place(digest)
        if row is None or self._faces is None:
            part, embedding = self._match(frame, face, digest)
        else:
            part = int(self._parts[row])
            embedding = unit(self._faces.identities()[row : row + 1], self._identity.centre)[0]
        confidence = person_confidence(self._gallery.distance(embedding, part), self._identity.threshold)
        return replace(face, person=f"{ID}{self._roots[part]}", person_confidence=confidence)

    def neutral_for(self, frame: Frame, face: FacePrediction) -> Neutral:
        """The neutral profile of the face's person, without this picture; the training's mean if there is none."""
        person = face.person or self.identify(frame, face).person
        return profile(person, self._profile(int(person.removeprefix(ID))), face, self._mean)

    def sinks(self) -> list[Sink]:
        """A sink that stores of each person the surest picture of each expression."""
        return [_TellingPictures(self._store)]

    def _match(self, frame: Frame, face: FacePrediction, digest: bytes) -> tuple[int, np.ndarray]:
        """The row of ``people`` of a face met only now, and its unit embedding, D."""
        if digest in self._matched:
            return self._matched[digest]
        _, embeddings, _, _ = self._encoders([face])
        track = None if face.track is None else (frame.index, face.track)
        today, centre = date.today(), self._identity.centre
        part = self._store.person_of(digest)
        if part not in self._roots:
            with self._store.writing():
                part = self._store.person_of(digest)
                # The first face of a track says who it is; a face turned away does not make somebody new of it.
                followed = None if track is None else self._tracks.get(track)
                if part is None and followed in self._store.roots():
                    part = followed
                    self._store.count(part, [digest], unit(embeddings, centre)[0], today, self._number_album())
                elif part is None:
                    alone = np.zeros(1, np.int64)
                    [part] = match_faces(
                        self._store,
                        [digest],
                        embeddings,
                        alone,
                        threshold=self._identity.threshold,
                        centre=centre,
                        today=today,
                        album=self._number_album(),
                    ).tolist()
                self._snapshot()
        if track is not None:
            # Only the latest input's tracks: another's have other numbers.
            self._tracks = {key: value for key, value in self._tracks.items() if key[0] == frame.index} | {track: part}
        self._matched[digest] = part, unit(embeddings, centre)[0]
        if len(self._matched) > CACHED:
            del self._matched[next(iter(self._matched))]
        return part, unit(embeddings, centre)[0]

    def _number_album(self) -> int:
        """The number of this album, a new one when it is first asked for."""
        if self._album is None:
            self._album = self._store.next_album()
        return self._album

    def _snapshot(self) -> None:
        """Read the people as they are now; what others do to the store meanwhile changes no id of this prediction."""
        self._gallery, self._roots = Gallery.of(self._store), self._store.roots()

    def _read_profile(self, root: int) -> list[Picture]:
        parts = [part for part, each in self._roots.items() if each == root]
        return comparable(self._store.pictures(parts, NEUTRAL), self._mean)

    def _summary(self, before: set[int]) -> str:
        met = {int(part) for part in np.unique(self._parts)}
        roots = {self._roots[part] for part in met}
        new = {self._roots[part] for part in met - before}
        profiles = [self._store.pictures([part for part, each in self._roots.items() if each == root], NEUTRAL)
                    for root in sorted(roots)]  # fmt: skip
        served = sum(map(bool, profiles))
        return (
            f"{len(roots)} people in {len(self._parts)} faces, {len(roots - new)} of them known before and {len(new)} "
            f"new; {served} have neutral pictures"
        )


def comparable(pictures: Iterable[Picture], mean: Neutral | None) -> list[Picture]:
    """Those of the pictures whose embeddings are as wide as that of the training's ``mean``."""
    width = None if mean is None or mean.embedding is None else len(mean.embedding)
    return [each for each in pictures if each.embedding is not None and len(each.embedding) == width]


def profile(person: str, pictures: Sequence[Picture], face: FacePrediction, mean: Neutral | None) -> Neutral:
    """The mean of a person's neutral ``pictures`` without ``face``; the training's ``mean`` where none is left."""
    digest = face_digest(crop_of(face))
    others = [each for each in pictures if each.digest != digest]
    if not others:
        assert mean is not None  # a model that compares faces has it
        return mean
    scores = [each.score for each in others if each.probability]
    embeddings = np.stack([each.embedding for each in others if each.embedding is not None])
    return Neutral(
        f"{PEOPLE}:{person} ({len(others)} picture{'s' * (len(others) > 1)})",
        embedding=embeddings.mean(axis=0, dtype=np.float32),
        confidence=sum(scores) / len(scores) if len(scores) == len(others) else None,
    )


#: What tells a face of an album from all others: its input, its frame, and its number there.
FaceKey = tuple[int, int | None, int]


def _key(frame: Frame, face: FacePrediction) -> FaceKey:
    return frame.index, frame.number, face.number


class _AlbumFaces(EmbeddedFaces):
    """The faces of an album with what a store needs of them: digests, tracks, and the crops of the neutral ones.

    The crops of those that were ``predicted`` on are there too; ``kept`` has these by their rows.
    """

    def __init__(self, encoders: Encoders, predicted: Mapping[FaceKey, FacePrediction]):
        super().__init__(encoders)
        self._predicted = predicted
        self.kept: dict[int, FacePrediction] = {}
        self._digests, self._crops = bytearray(), Blobs()
        self._units = array("q")
        self._tracks: dict[tuple[int, int], int] = {}

    def add(self, frame: Frame, face: FacePrediction, own: np.ndarray, identity: np.ndarray, *scored: Any) -> None:
        super().add(frame, face, own, identity, *scored)
        self._digests += face_digest(crop_of(face))
        if (predicted := self._predicted.get(_key(frame, face))) is not None:
            self.kept[len(self) - 1] = predicted
        self._crops.add(encode_crop(crop_of(face)) if self.certain[-1] or predicted is not None else b"")
        place = len(self._units)
        self._units.append(place if face.track is None else self._tracks.setdefault((frame.index, face.track), place))

    def digests(self) -> Sequence[bytes]:
        """The digest of each crop."""
        return [bytes(self._digests[at : at + DIGEST]) for at in range(0, len(self._digests), DIGEST)]

    def digest_keys(self) -> np.ndarray:
        """N numbers that tell the crops apart."""
        return np.frombuffer(bytes(self._digests), "<u8")[:: DIGEST // 8]

    def cluster(self, threshold: float, centre: np.ndarray | None) -> np.ndarray:
        """N cluster numbers; the faces of a track of one video are one unit, with their mean embedding."""
        identities = self.identities()
        if not self._tracks:
            return cluster(identities, threshold, centre=centre)
        units, places = np.unique(np.array(self._units), return_inverse=True)
        means = np.zeros((len(units), identities.shape[1]), np.float32)
        np.add.at(means, places, identities)
        means /= np.bincount(places)[:, None]
        return cluster(means, threshold, centre=centre)[places]

    def picture(self, row: int, predicted: FacePrediction | None = None) -> Picture:
        """The face as a neutral picture to keep, or as one of the label that was ``predicted``."""
        digest = bytes(self._digests[DIGEST * row : DIGEST * (row + 1)])
        if predicted is not None:
            name = as_text(self.name(row))
            return Picture(digest, predicted.label, name, predicted.confidence, True, self._crops[row])
        return Picture(
            digest,
            NEUTRAL,
            as_text(self.name(row)),
            self.scores[row],
            self.confident,
            self._crops[row],
            self.embedding(row),
        )


class _TellingPictures(Sink):
    """A sink that stores of each person the surest picture of each expression but the neutral one."""

    immediate = True

    def __init__(self, store: PeopleStore):
        self._store = store
        self._waiting: dict[tuple[int, str], Picture] = {}

    def write(self, result: FrameResult) -> None:
        """Keep the result's faces in mind where they are the surest so far."""
        for face in result.faces:
            if face.label == NEUTRAL or face.crop is None:
                continue
            digest = face_digest(face.crop)
            part = self._store.person_of(digest)
            if part is None:
                # Forgotten meanwhile.
                continue
            best = self._waiting.get((part, face.label))
            if best is None or face.confidence > best.score:
                name, crop = as_text(face_name(result.frame, face.number)), encode_crop(face.crop)
                self._waiting[part, face.label] = Picture(digest, face.label, name, face.confidence, True, crop)
        if len(self._waiting) >= TOGETHER:
            self._store_waiting()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None or issubclass(kind, KeyboardInterrupt):
            self._store_waiting()

    def _store_waiting(self) -> None:
        if self._waiting:
            with self._store.writing():
                for (part, _), picture in self._waiting.items():
                    # Only of who was not forgotten meanwhile.
                    if self._store.person_of(picture.digest) == part:
                        self._store.offer(part, picture)
        self._waiting.clear()


def encode_crop(crop: np.ndarray) -> bytes:
    """A JPEG of the crop, H×W×3 uint8 RGB, of at most :data:`CROP_SIZE` pixels a side."""
    if max(crop.shape[:2]) > CROP_SIZE:
        crop = cv2.resize(crop, (CROP_SIZE, CROP_SIZE), interpolation=cv2.INTER_AREA)
    settings = [cv2.IMWRITE_JPEG_QUALITY, CROP_QUALITY]
    return cv2.imencode(".jpg", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR), settings)[1].tobytes()


def _most_neutral(parts: np.ndarray, scores: np.ndarray, certain: np.ndarray) -> list[int]:
    """The rows of the most neutral certain faces of each of ``parts``, as many as a store keeps."""
    rows = np.flatnonzero(certain)
    rows = rows[np.lexsort((rows, -scores[rows], parts[rows]))]
    _, starts = np.unique(parts[rows], return_index=True)
    place = np.arange(len(rows)) - np.repeat(starts, np.diff([*starts, len(rows)]))
    return rows[place < NEUTRALS].tolist()
