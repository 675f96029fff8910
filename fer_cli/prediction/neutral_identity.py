"""By which encoder faces are grouped into people, and how near two faces of one person are in it."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from fer_cli.embeddings.neutral import NeutralMean, of_run
from fer_cli.errors import ModelError, RunError
from fer_cli.models.choices import VGGFACE2
from fer_cli.models.classifier import Classifier
from fer_cli.models.disentangled import DisentangledModel
from fer_cli.models.identity import identity_network, identity_weights
from fer_cli.models.loading import load_into, load_own
from fer_cli.models.preprocessing import Preprocessing
from fer_cli.models.vggface2 import load_published
from fer_cli.models.weights import find
from fer_cli.runs.run import CARD, Run

#: The cosine distance that those who use the VGGFace2 network take for the border between two people; also taken for
#: an encoder of whom no people are known to measure it by.
CUSTOMARY = 0.5
#: Where a disentangled run keeps what it was trained from.
STAGE_1, IDENTITY = "stage1", "identity"


@dataclass(frozen=True, eq=False)
class IdentityEncoder:
    """What tells people apart: ``network`` gives B×D for what ``preprocessing`` makes of crops.

    ``centre`` is taken away from the embeddings; faces less than ``threshold`` apart
    (:func:`~fer_cli.embeddings.neutral.distances`) are taken for one person's. ``about`` says which one it is.
    """

    network: nn.Module
    preprocessing: Preprocessing
    threshold: float
    about: str
    device: torch.device
    centre: np.ndarray | None = None

    @torch.inference_mode()
    def embed(self, crops: Tensor) -> np.ndarray:
        """B×D for B×3×H×W uint8 crops."""
        return self.network(self.preprocessing(crops).to(self.device)).float().cpu().numpy()


def choose_identity(
    run: Run, classifier: Classifier, *, wanted: str | None = None, threshold: float | None = None
) -> IdentityEncoder:
    """The encoder to group faces by, for a paired ``run``.

    In order: ``wanted`` (``vggface2``, a run's folder, a file of weights); the VGGFace2 weights, where they were
    imported; the identity encoder that a disentangled run was trained beside; the run's own encoder, which was trained
    for expressions and not for people. ``threshold`` None is measured on people whom the encoder was not trained on
    where it knows them, else customary. Raises :class:`~fer_cli.errors.ModelError` if ``wanted`` cannot be had.
    """
    device = classifier.device
    if wanted == VGGFACE2 or (wanted is None and find(VGGFACE2).place() is not None):
        return _published(find(VGGFACE2).fetch(), threshold, device)
    if wanted is not None:
        return _named(Path(wanted), threshold, device)
    for folder in _beside(run):
        return _named(folder, threshold, device)
    own = of_run(run, classifier.model.encoder, classifier.preprocessing, device)
    about = f"{run.path}, its own encoder: it was trained for expressions, not for people (--identity names a better)"
    return _made(classifier.model.encoder, classifier.preprocessing, own, threshold, about, device)


def _beside(run: Run) -> list[Path]:
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
    return _made(network, Preprocessing(224), None, threshold, f"{VGGFACE2} ({path})", device)


def _named(path: Path, threshold: float | None, device: torch.device) -> IdentityEncoder:
    """The identity encoder in a run's folder or a file of weights."""
    if not path.exists():
        raise ModelError(
            f"There are no weights at {path}.",
            hint=f"--identity takes {VGGFACE2}, a run's folder, or a .safetensors or .pth file.",
        )
    run = Run.open(path) if (path / CARD).is_file() else None
    preprocessing = Preprocessing(224) if run is None else Preprocessing.load(path)
    if run is not None:
        for folder in _beside(run):
            return _named(folder, threshold, device)
        if run.card["model"] == "disentangled" and run.card["recipe"].get("stage") == 1:
            model = load_own(path, DisentangledModel)
            if model.identity is None:
                raise ModelError(f"{path} was trained without an identity encoder.", hint="Type another --identity.")
            return _made(model.identity, preprocessing, None, threshold, f"the identity encoder of {path}", device)
    name, weights = identity_weights(path)
    network = identity_network(name)
    load_into(network, weights, str(path))
    network.eval()
    known = None
    if run is not None:
        # A run whose dataset is gone, or shows no neutral faces, tells people apart all the same.
        with suppress(RunError):
            known = of_run(run, network, preprocessing, device)
    return _made(network, preprocessing, known, threshold, str(path), device)


def _made(
    network: nn.Module,
    preprocessing: Preprocessing,
    known: NeutralMean | None,
    threshold: float | None,
    about: str,
    device: torch.device,
) -> IdentityEncoder:
    if threshold is None:
        threshold = CUSTOMARY if known is None or known.threshold is None else known.threshold
    centre = None if known is None else known.mean.numpy()
    return IdentityEncoder(network.to(device).eval(), preprocessing, threshold, about, device, centre)
