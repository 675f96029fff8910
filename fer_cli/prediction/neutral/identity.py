"""Identity: the encoder that tells people apart, and the clustering of faces into people by it."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fer_cli.embeddings.neutral import NeutralMean, distances, of_run, unit
from fer_cli.errors import ModelError, RunError
from fer_cli.models import SFACE, SMALL_RESNETS, VGGFACE2
from fer_cli.models.disentangled import DisentangledModel
from fer_cli.models.identity import identity_network, identity_weights
from fer_cli.models.inference import Classifier
from fer_cli.models.loading import load_into, load_own
from fer_cli.models.preprocessing import FILE, Preprocessing
from fer_cli.models.sface import PREPROCESSING, THRESHOLD, SFace
from fer_cli.models.vggface2 import load_published
from fer_cli.models.weights import find
from fer_cli.prediction.pipeline import to_tensor
from fer_cli.prediction.results import FacePrediction, crop_of
from fer_cli.runs.run import CARD, Run

#: The cosine distance that those who use the VGGFace2 network take for the border between two people; also taken for
#: an encoder of whom no people are known to measure it by.
CUSTOMARY = 0.5
#: The distance for an encoder of expressions without a measured one. Nearly all faces are nearer to each other than
#: :data:`CUSTOMARY`: the packaged model then takes 98 people for 3. It tells few together, but rarely two for one.
STRICT = 0.02
#: How to come by a better encoder than one for expressions.
BETTER = f"fer weights fetch {SFACE} gets a better one, and --identity takes others"
#: Faces clustered at once. Agglomerative clustering compares all pairs: of this many 2 million, in some 150 MB.
AT_ONCE = 2000
#: Where a disentangled run keeps what it was trained from.
STAGE_1, IDENTITY = "stage1", "identity"


@dataclass(frozen=True, eq=False)
class IdentityEncoder:
    """An encoder that tells people apart: ``network`` gives B×D of crops after ``preprocessing``.

    ``centre`` is subtracted from the embeddings; faces less than ``threshold`` apart
    (:func:`~fer_cli.embeddings.neutral.distances`) are taken for one person's. ``about`` describes it.
    """

    network: nn.Module
    preprocessing: Preprocessing
    threshold: float
    about: str
    device: torch.device
    centre: np.ndarray | None = None

    @property
    def aligned(self) -> bool:
        """Whether it takes the ``aligned`` crop of a face (:class:`~fer_cli.prediction.results.FacePrediction`)."""
        return isinstance(self.network, SFace)

    def embed_faces(self, faces: Sequence[FacePrediction]) -> np.ndarray:
        """B×D for B faces, by their crops, or by their aligned crops where it takes those and they have them."""
        if not self.aligned:
            return self.embed(to_tensor([crop_of(face) for face in faces]))
        chosen = [crop_of(face) if face.aligned is None else face.aligned for face in faces]
        return np.concatenate([self.embed(to_tensor([crop])) for crop in chosen])

    @torch.inference_mode()
    def embed(self, crops: Tensor) -> np.ndarray:
        """B×D for B×3×H×W uint8 crops."""
        return self.network(self.preprocessing(crops).to(self.device)).float().cpu().numpy()


def choose_identity(
    run: Run | None, classifier: Classifier, *, wanted: str | None = None, threshold: float | None = None
) -> IdentityEncoder:
    """The encoder to group faces by, for a ``run``, or a model that is none.

    In order: ``wanted`` (``sface``, ``vggface2``, a run's folder, a file of weights); SFace, where it is here; the
    VGGFace2 weights, where they were imported; the identity encoder that a disentangled run was trained with; the
    model's own encoder, which was trained for expressions and not for people. ``threshold`` None is measured on people
    whom the encoder was not trained on where it knows them, else customary. Raises
    :class:`~fer_cli.errors.ModelError` if ``wanted`` cannot be had.
    """
    device = classifier.device
    if wanted == SFACE or (wanted is None and find(SFACE).place() is not None):
        return _sface(find(SFACE).fetch(), threshold)
    if wanted == VGGFACE2 or (wanted is None and find(VGGFACE2).place() is not None):
        return _published(find(VGGFACE2).fetch(), threshold, device)
    if wanted is not None:
        return _named(Path(wanted), threshold, device)
    for folder in _identity_folders(run) if run is not None else ():
        return _named(folder, threshold, device)
    encoder = getattr(classifier.model, "encoder", None)
    # Of a published model it may be a transformer's, which gives no embedding of a face.
    if not isinstance(encoder, nn.Module) or not hasattr(encoder, "width"):
        raise ModelError(
            "This model has no encoder that could tell people apart, and no other is here.", hint=f"{BETTER}."
        )
    own = None
    if run is not None and classifier.paired:
        # Where nobody's average neutral face is known, embeddings are compared as they are.
        with suppress(RunError):
            own = of_run(run, encoder, classifier.preprocessing, device)
    elif run is not None:
        own = NeutralMean.load(run.path)
    if threshold is None and (own is None or own.threshold is None):
        threshold = STRICT
    name = "the model" if run is None else run.path
    about = f"{name}, its own encoder: it was trained for expressions, not for people ({BETTER})"
    return _encoder(encoder, classifier.preprocessing, own, threshold, about, device)


def _sface(path: Path, threshold: float | None) -> IdentityEncoder:
    network = SFace(path)
    about = f"{SFACE} ({path})" + (f", {network.about}" if network.about else "")
    # The graph runs on the CPU, wherever the model does.
    threshold = THRESHOLD if threshold is None else threshold
    return IdentityEncoder(network.eval(), PREPROCESSING, threshold, about, torch.device("cpu"))


def _identity_folders(run: Run) -> list[Path]:
    """The folders in which a disentangled run's identity encoder may be, the best first."""
    stages = [run.path / STAGE_1]
    if run.card["recipe"].get("stage") == 2 and run.card["recipe"].get("encoder"):
        named = Path(run.card["recipe"]["encoder"])
        stages += [named / f"fold{run.fold}", named]
    runs = [folder for stage in stages for folder in (stage / IDENTITY, stage)]
    return [folder for folder in runs if (folder / CARD).is_file() and _has_identity(folder)]


def _has_identity(folder: Path) -> bool:
    card = Run.open(folder).card
    return card["model"] == IDENTITY or card["recipe"].get("identity", "none") != "none"


def _published(path: Path, threshold: float | None, device: torch.device) -> IdentityEncoder:
    network = identity_network(VGGFACE2)
    load_into(network, load_published(path), str(path))
    return _encoder(network, Preprocessing(224), None, threshold, f"{VGGFACE2} ({path})", device)


def _named(path: Path, threshold: float | None, device: torch.device) -> IdentityEncoder:
    """The identity encoder in a run's folder or a file of weights."""
    if not path.exists():
        raise ModelError(
            f"There are no weights at {path}.",
            hint=f"--identity takes {SFACE}, {VGGFACE2}, a run's folder, or a .safetensors, .pth or .onnx file.",
        )
    if path.suffix == ".onnx":
        return _sface(path, threshold)
    run = Run.open(path) if (path / CARD).is_file() else None
    preprocessing = Preprocessing.load(path) if (path / FILE).is_file() else None
    if run is not None:
        for folder in _identity_folders(run):
            return _named(folder, threshold, device)
        if run.card["model"] == "disentangled" and run.card["recipe"].get("stage") == 1:
            model: Any = load_own(path, DisentangledModel)
            if model.identity is None:
                raise ModelError(f"{path} was trained without an identity encoder.", hint="Type another --identity.")
            preprocessing = preprocessing or Preprocessing.load(path)
            return _encoder(model.identity, preprocessing, None, threshold, f"the identity encoder of {path}", device)
    name, weights = identity_weights(path)
    network = identity_network(name)
    load_into(network, weights, str(path))
    network.eval()
    preprocessing = preprocessing or Preprocessing(64 if name in SMALL_RESNETS else 224)
    mean = NeutralMean.load(path) if path.is_dir() else None
    if run is not None:
        # A run whose dataset is gone, or shows no neutral faces, tells people apart all the same.
        with suppress(RunError):
            mean = of_run(run, network, preprocessing, device)
    return _encoder(network, preprocessing, mean, threshold, str(path), device)


def _encoder(
    network: nn.Module,
    preprocessing: Preprocessing,
    mean: NeutralMean | None,
    threshold: float | None,
    about: str,
    device: torch.device,
) -> IdentityEncoder:
    if threshold is None:
        threshold = CUSTOMARY if mean is None or mean.threshold is None else mean.threshold
    centre = None if mean is None else mean.mean.numpy()
    return IdentityEncoder(network.to(device).eval(), preprocessing, threshold, about, device, centre)


def cluster(
    embeddings: np.ndarray, threshold: float, *, centre: np.ndarray | None = None, at_once: int = AT_ONCE
) -> np.ndarray:
    """N cluster numbers, from 0 in the order of the clusters' first faces, for N×D ``embeddings`` (a memmap will do).

    Agglomerative clustering with average linkage: clusters are joined while the mean cosine distance of their faces,
    less ``centre``, is below ``threshold``. Of more than ``at_once`` faces the first are clustered; of each further so
    many, those nearer than ``threshold`` to the middle of a cluster join the nearest, and the others are clustered.
    Memory depends on ``at_once`` and on the number of clusters, not on N; so does, above ``at_once``, the result on the
    faces' order.
    """
    labels = np.empty(len(embeddings), np.int64)
    sums = np.empty((0, embeddings.shape[1]), np.float32)
    for start in range(0, len(embeddings), at_once):
        faces = unit(embeddings[start : start + at_once], centre)
        found = _nearest(faces, sums, threshold)
        unassigned = np.flatnonzero(found < 0)
        if len(unassigned):
            found[unassigned] = len(sums) + _agglomerate(faces[unassigned], threshold)
        new = max(int(found.max()) + 1 - len(sums), 0)
        sums = np.concatenate([sums, np.zeros((new, sums.shape[1]), np.float32)])
        np.add.at(sums, found, faces)
        labels[start : start + len(faces)] = found
    return labels


def _nearest(faces: np.ndarray, sums: np.ndarray, threshold: float) -> np.ndarray:
    """The cluster whose middle is nearest to each face, -1 where none is nearer than ``threshold``."""
    if not len(sums):
        return np.full(len(faces), -1)
    apart = distances(faces, unit(sums))
    nearest = apart.argmin(axis=1)
    return np.where(apart[np.arange(len(faces)), nearest] < threshold, nearest, -1)


def _agglomerate(faces: np.ndarray, threshold: float) -> np.ndarray:
    """Clusters numbered in the order of their first faces."""
    if len(faces) == 1:
        return np.zeros(1, np.int64)
    # It takes seconds to import, and most predictions cluster nobody.
    from sklearn.cluster import AgglomerativeClustering

    clustering = AgglomerativeClustering(
        n_clusters=None, distance_threshold=threshold, metric="precomputed", linkage="average"
    )
    found = clustering.fit_predict(distances(faces, faces).clip(min=0))
    _, first, place = np.unique(found, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[place]
