"""Snapshot of a people store: who is who at one moment, for predictions that only read it, on other machines too."""

import hashlib
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch

from fer_cli.embeddings.neutral import NeutralMean, unit
from fer_cli.labels import NEUTRAL
from fer_cli.prediction.neutral.identity import IdentityEncoder
from fer_cli.prediction.options import MEAN
from fer_cli.prediction.people.finder import comparable, profile
from fer_cli.prediction.people.matching import DigestIndex, Gallery, face_digest, person_confidence
from fer_cli.prediction.people.store import ID, PeopleStore, Picture
from fer_cli.prediction.pipeline import FaceExtractor, Neutral
from fer_cli.prediction.results import FacePrediction, Frame, FrameResult, crop_of
from fer_cli.prediction.sinks import Sink


class KnownPeople:
    """Who each face is, as a store said when this was made; nothing is stored, and it can be sent to other machines.

    A face that was counted is its person's. Another is that of the person whose centroid is nearest, if that is nearer
    than the threshold; in a video the first face of a track that is somebody's says who the rest of it is. Whoever is
    nobody's has no person. :meth:`neutral_for` gives what
    :class:`~fer_cli.prediction.people.finder.StoredPeople` does, and the training's ``mean`` to whoever has no person.

    Of each counted face 16 bytes are in memory, and of each person the centroid and up to five neutral embeddings.
    """

    def __init__(self, store: PeopleStore, identity: IdentityEncoder, mean: NeutralMean | None):
        self._identity, self.folder = identity, store.path.parent
        self._mean = None if mean is None else Neutral(MEAN, embedding=mean.mean.numpy())
        self._tracks: dict[tuple[int, int], int] = {}
        self._profiles: dict[int, list[Picture]] = {}
        with store.reading():
            self._gallery, self._roots = Gallery.of(store), store.roots()
            keys, self._parts = store.counted_faces()
            for person in store.people() if mean is not None else ():
                pictures = comparable(store.pictures(person.parts, NEUTRAL), self._mean)
                self._profiles[person.number] = [replace(each, crop=b"") for each in pictures]
        self._index = DigestIndex(keys)
        contents = [np.ascontiguousarray(each).tobytes() for each in (*vars(self._gallery).values(), keys, self._parts)]
        contents.append(repr(sorted(self._roots.items())).encode())
        for number, pictures in self._profiles.items():
            contents += [
                f"{number} {each.digest!r} {each.score}".encode() + np.asarray(each.embedding).tobytes()
                for each in pictures
            ]
        #: A digest of all that rows depend on.
        self.fingerprint = hashlib.sha256(b"".join(contents)).hexdigest()

    def __len__(self) -> int:
        return len(set(self._roots.values()))

    def resume(self, results: Iterable[FrameResult]) -> None:
        """Nothing depends on what was predicted before."""

    def fit(self, frames: Iterable[Frame] | None, extract: FaceExtractor) -> None:
        """Nothing depends on the frames."""

    def sinks(self) -> list[Sink]:
        """There are none: nothing is stored."""
        return []

    def to(self, device: torch.device) -> None:
        """Compute on ``device``, where the identity encoder is torch's."""
        if not self._identity.aligned:
            network = self._identity.network.to(device)
            self._identity = replace(self._identity, network=network, device=device)

    def extracting(self, extract: FaceExtractor) -> "EmbeddingExtractor":
        """The extractor, giving the ``identity`` of each face."""
        return EmbeddingExtractor(extract.aligning() if self._identity.aligned else extract, self._identity)

    def identify(self, frame: Frame, face: FacePrediction) -> FacePrediction:
        """The face, which has its ``identity``, with its person; called in the order of frames, by one thread."""
        embedding = unit(np.asarray(face.identity)[None], self._identity.centre)
        track = None if face.track is None else (frame.index, face.track)
        place = self._index.place(face_digest(crop_of(face)))
        if place is not None:
            part = int(self._parts[place])
        else:
            followed = 0 if track is None else self._tracks.get(track, 0)
            part = followed or int(self._gallery.nearest(embedding, self._identity.threshold)[0])
        if not part:
            return face
        if track is not None:
            # Only the latest input's tracks: another's have other numbers.
            self._tracks = {key: value for key, value in self._tracks.items() if key[0] == frame.index} | {track: part}
        confidence = person_confidence(self._gallery.distance(embedding[0], part), self._identity.threshold)
        return replace(face, person=f"{ID}{self._roots[part]}", person_confidence=confidence)

    def neutral_for(self, frame: Frame, face: FacePrediction) -> Neutral:
        """The neutral profile of the face's person, without this picture; the training's mean if there is none."""
        if not face.person:
            assert self._mean is not None  # a model that compares faces has it
            return self._mean
        return profile(face.person, self._profiles[int(face.person.removeprefix(ID))], face, self._mean)


class EmbeddingExtractor:
    """Extraction of faces with the ``identity`` of each; any number of threads may call it at once."""

    def __init__(self, extract: FaceExtractor, identity: IdentityEncoder):
        self._extract, self._identity = extract, identity

    def __call__(self, frame: Frame) -> FrameResult:
        """The faces of ``frame``, without probabilities."""
        result = self._extract(frame)
        if not result.faces:
            return result
        embedded = self._identity.embed_faces(result.faces)
        faces = [replace(face, identity=each) for face, each in zip(result.faces, embedded, strict=True)]
        return replace(result, faces=tuple(faces))
