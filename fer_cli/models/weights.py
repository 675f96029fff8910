"""Published weights: what each is for, where it comes from, under which licence, and whether it is here."""

import hashlib
import os
import socket
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import cast

from fer_cli.errors import DetectorError, ModelError, UsageError, first_sentence
from fer_cli.faces import yunet
from fer_cli.files import cache_folder, locked
from fer_cli.models import BACKBONES, SFACE, SFACE_SHA256, VGGFACE2, VIT_B16, VIT_B16_REVISION
from fer_cli.models.loading import read_weights, require_readable
from fer_cli.pretrained import NAME, QUICK, packaged_model, require_packaged
from fer_cli.progress import Progress, silent

#: How long a server may say nothing, in seconds.
TIMEOUT = 60


@dataclass(frozen=True)
class Weights(ABC):
    """Published weights: ``name`` for the command line, what they are ``used_for``, their ``home`` and ``licence``.

    ``permission`` says who may use them for what, and where that is written. ``publishable`` is False where weights
    that began with them are not to be published without asking.
    """

    name: str
    used_for: str
    home: str
    licence: str
    permission: str
    publishable: bool = field(default=True, kw_only=True)

    @abstractmethod
    def place(self) -> Path | None:
        """The file, if it is here."""

    @abstractmethod
    def fetch(self, progress: Progress = silent) -> Path:
        """Make sure that it is here and whole; raises :class:`~fer_cli.errors.ModelError` if it cannot be had."""

    def expected(self) -> str:
        """The SHA-256 of the published file, or its beginning; empty where that is not known."""
        return ""

    def check(self) -> None:
        """Raise :class:`~fer_cli.errors.ModelError` if what is here is not whole: all of it is read."""
        if (place := self.place()) is None:
            return
        require_readable(place)
        if not digest(place).startswith(self.expected()):
            raise ModelError(
                f"{place} is damaged, or another file than the one that was published.",
                hint=f"Type: rm '{place.resolve()}'; fer weights fetch {self.name}",
            )


@dataclass(frozen=True)
class ImageNetWeights(Weights):
    """torchvision's, kept where torchvision looks for them."""

    def place(self) -> Path | None:
        """The file in torch's own cache, if it is there."""
        return file if (file := self._file()).is_file() else None

    def fetch(self, progress: Progress = silent) -> Path:
        """Download it unless it is there and whole."""
        file = self._file()
        if not file.is_file() or not digest(file).startswith(self.expected()):
            with locked(file, "downloading"):
                download(self._url(), file, sha256=self.expected(), progress=progress)
        return file

    def expected(self) -> str:
        """As torchvision puts it into the name: mobilenet_v3_large-5c1a4163.pth."""
        return self._file().stem.rpartition("-")[2]

    def _url(self) -> str:
        import torchvision

        return torchvision.models.get_model_weights(self.name).DEFAULT.url

    def _file(self) -> Path:
        import torch

        return Path(torch.hub.get_dir()) / "checkpoints" / Path(self._url()).name


def download(url: str, path: Path, *, sha256: str, progress: Progress = silent) -> None:
    """Fetch ``url`` to ``path``, whole or not at all; ``sha256`` is the digest of the file, or its beginning.

    Raises :class:`~fer_cli.errors.ModelError` if the file cannot be had or is another one.
    """
    import torch

    progress(f"fetching {path.name}", 0, None)
    before = socket.getdefaulttimeout()
    # torch sets none.
    socket.setdefaulttimeout(TIMEOUT)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), hash_prefix=sha256, progress=False)
    except RuntimeError as error:
        raise ModelError(f"What {url} gave is not the file that was expected: its checksum differs.") from error
    except (OSError, ValueError, HTTPException) as error:
        raise ModelError(
            f"{url} cannot be downloaded: {getattr(error, 'reason', None) or error}.",
            hint="Look at the network, and type the same line again.",
        ) from error
    finally:
        socket.setdefaulttimeout(before)


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class HubWeights(Weights):
    """A file of the Hugging Face Hub at a pinned revision, kept in the Hub's own cache."""

    repository: str
    revision: str
    file: str
    sha256: str
    #: Other files of the repository that are needed to use it.
    others: tuple[str, ...] = ()

    def expected(self) -> str:
        """That of the revision."""
        return self.sha256

    def place(self) -> Path | None:
        """The file in the Hub's cache, if it is there."""
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(self.repository, self.file, revision=self.revision)
        return Path(found) if isinstance(found, str) else None

    def fetch(self, progress: Progress = silent) -> Path:
        """Download it with the files it needs; the Hub's client resumes."""
        from huggingface_hub import hf_hub_download
        from huggingface_hub.utils import disable_progress_bars, logging

        disable_progress_bars()
        logging.set_verbosity_error()
        progress(f"fetching {self.name}", 0, None)
        try:
            for name in self.others:
                hf_hub_download(self.repository, name, revision=self.revision)
            file = Path(hf_hub_download(self.repository, self.file, revision=self.revision))
        except Exception as error:  # the hub's errors, the network's, and the disk's
            raise ModelError(
                f"{self.repository} cannot be downloaded ({type(error).__name__}: {first_sentence(error)}).",
                hint="Type the same line again to go on from where it stopped.",
            ) from error
        if digest(file) != self.sha256:
            raise ModelError(
                f"{file.resolve()} is not the file that was expected: its checksum differs.",
                hint="Remove it, and type the line again.",
            )
        return file


@dataclass(frozen=True)
class SFaceWeights(HubWeights):
    """SFace's, of the Hub, or the file that ``fer weights import`` copied into the user's cache."""

    def place(self) -> Path | None:
        """The imported file, or that in the Hub's cache, if one is there."""
        file = self.target()
        return file if file.is_file() else super().place()

    def target(self) -> Path:
        """Where an imported file goes."""
        return cache_folder() / f"{self.name}.onnx"

    def fetch(self, progress: Progress = silent) -> Path:
        """The imported file, or that of the Hub, downloaded unless it is there."""
        file = self.target()
        return file if file.is_file() else super().fetch(progress)

    def expected(self) -> str:
        """Nothing of an imported file: a person may have chosen another one."""
        return "" if self.target().is_file() else super().expected()


@dataclass(frozen=True)
class DetectorWeights(Weights):
    """The face detector's, which ``fer prepare`` and ``fer predict`` fetch themselves when they need it."""

    def place(self) -> Path | None:
        """The file that FER_YUNET names, or that in the Hub's cache, if it is there."""
        from huggingface_hub import try_to_load_from_cache

        named = os.environ.get(yunet.VARIABLE)
        if named:
            return Path(named) if Path(named).is_file() else None
        found = try_to_load_from_cache(yunet.REPOSITORY, yunet.FILE, revision=yunet.REVISION)
        return Path(found) if isinstance(found, str) else None

    def fetch(self, progress: Progress = silent) -> Path:
        """Download it unless it is there."""
        try:
            return yunet.find_detector_model(progress=progress)
        except DetectorError as error:
            raise ModelError(error.message) from error


@dataclass(frozen=True)
class ImportedWeights(Weights):
    """Weights that only a person can get, and ``fer weights import`` converts."""

    published_as: str

    def place(self) -> Path | None:
        """The converted file, if it is there."""
        file = self.target()
        return file if file.is_file() else None

    def check(self) -> None:
        """By whether its tensors can be read, and are finite."""
        if place := self.place():
            read_weights(place)

    def target(self) -> Path:
        """Where the converted file goes."""
        return cache_folder() / f"{self.name}.safetensors"

    def fetch(self, progress: Progress = silent) -> Path:
        """The converted file; where there is none, raises with how to get it."""
        if self.place() is None:
            raise ModelError(
                f"{self.name} is not in {cache_folder()}, and cannot be fetched: its owners publish no address with a "
                "checksum.",
                hint=f"Get {self.published_as} from {self.home} yourself, then type: fer weights import "
                f"{self.published_as}",
            )
        return self.target()


@dataclass(frozen=True)
class PackagedWeights(Weights):
    """The model that comes with fer."""

    def place(self) -> Path | None:
        """Its folder; None where fer comes without it, or it is damaged."""
        with suppress(ModelError):
            return packaged_model(self.name)
        return None

    def fetch(self, progress: Progress = silent) -> Path:
        """Its folder, checked by its list of digests."""
        return require_packaged(self.name)

    def check(self) -> None:
        """By its list of digests."""
        self.fetch()


ALL: dict[str, Weights] = {
    weights.name: weights
    for weights in (
        *(
            ImageNetWeights(
                name=backbone,
                used_for="the encoder of difference and disentangled (--encoder imagenet)",
                home="download.pytorch.org (torchvision, IMAGENET1K)",
                licence="code BSD-3-Clause; weights: trained on ImageNet, whose terms are non-commercial research",
                permission="yours to determine, says torchvision (github.com/pytorch/vision, Pre-trained Model "
                "License); ImageNet: non-commercial research (image-net.org/download)",
            )
            for backbone in BACKBONES
        ),
        HubWeights(
            name="vit-base-patch16-224-in21k",
            used_for="vit-se (its default --backbone)",
            home=f"huggingface.co/{VIT_B16}",
            licence="code and weights Apache-2.0; trained on ImageNet-21k",
            permission=f"anyone, for anything, under Apache-2.0 (huggingface.co/{VIT_B16}); ImageNet: non-commercial "
            "research (image-net.org/download)",
            repository=VIT_B16,
            revision=VIT_B16_REVISION,
            file="model.safetensors",
            sha256="fd4e1169c7aa6c2dbfa8a6448be13b35abc0ee256190857c90009d12c094619b",
            others=("config.json", "preprocessor_config.json"),
        ),
        DetectorWeights(
            name="yunet",
            used_for="finding faces (prepare and predict)",
            home=f"huggingface.co/{yunet.REPOSITORY}",
            licence="code and weights MIT",
            permission="anyone, for anything, under MIT (github.com/opencv/opencv_zoo, "
            "models/face_detection_yunet/LICENSE)",
        ),
        SFaceWeights(
            name=SFACE,
            used_for="telling people apart in predict",
            home="huggingface.co/opencv/face_recognition_sface",
            licence="code and weights Apache-2.0",
            permission="anyone, for anything, under Apache-2.0 (github.com/opencv/opencv_zoo, "
            "models/face_recognition_sface/LICENSE)",
            repository="opencv/face_recognition_sface",
            revision="3d7082438a6e4551e840c9b2bb60b71e8da4b524",
            file="face_recognition_sface_2021dec.onnx",
            sha256=SFACE_SHA256,
        ),
        ImportedWeights(
            name=VGGFACE2,
            used_for="identity in disentangled (--identity vggface2); telling people apart in predict",
            home="github.com/cydonia999/VGGFace2-pytorch",
            licence="code MIT; weights: the Oxford originals are to be read as non-commercial",
            permission="non-commercial research; publishing weights that began with them: not stated, ask their "
            "owners (github.com/ox-vgg/vgg_face2)",
            publishable=False,
            published_as="resnet50_ft_weight.pkl",
        ),
        *(
            PackagedWeights(
                name=name,
                used_for=used_for,
                home="fer itself",
                licence="code MIT; weights: none stated",
                permission="research; beyond that not stated by the owners of its pictures: FER2013's, found by a web "
                "search, and press photographs of Labeled Faces in the Wild (github.com/muxspace/facial_expressions)",
            )
            for name, used_for in ((NAME, "encoders' start; neutral faces"), (QUICK, "predict without a run"))
        ),
    )
}
#: The names that ``fer weights fetch --all`` fetches.
FETCHABLE = tuple(name for name, weights in ALL.items() if not isinstance(weights, ImportedWeights | PackagedWeights))


@dataclass(frozen=True)
class FetchedModel(Weights):
    """A model of the Hub that somebody named, in the Hub's cache: ``folder`` holds the newest revision there."""

    folder: Path

    def place(self) -> Path | None:
        """The folder."""
        return self.folder

    def fetch(self, progress: Progress = silent) -> Path:
        """The folder, which is here."""
        return self.folder


def fetched_models() -> list[FetchedModel]:
    """The models in the Hub's cache that are not among :data:`ALL`, with the licence that their cards state."""
    from huggingface_hub import ModelCard, constants, scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    listed = {yunet.REPOSITORY, *(each.repository for each in ALL.values() if isinstance(each, HubWeights))}
    try:
        repositories = [each for each in scan_cache_dir(constants.HF_HUB_CACHE).repos if each.repo_type == "model"]
    except CacheNotFound:
        return []
    found = []
    for each in sorted(repositories, key=lambda each: each.repo_id):
        if each.repo_id in listed or not each.revisions:
            continue
        folder = max(each.revisions, key=lambda revision: revision.last_modified).snapshot_path
        licence = "not stated"
        # A card is whatever its owner wrote.
        with suppress(Exception):
            data = ModelCard.load(folder / "README.md").data
            licence = str(data.get("license_name") or data.get("license") or licence)
        home = f"huggingface.co/{each.repo_id}"
        found.append(FetchedModel(each.repo_id, "predict --model", home, licence, f"as its card says ({home})", folder))
    return found


def find(name: str) -> Weights:
    """The published weights called ``name``; raises :class:`~fer_cli.errors.UsageError` if there are none."""
    if name not in ALL:
        raise UsageError(f"There are no weights called '{name}'.", hint=f"There are {', '.join(ALL)}.")
    return ALL[name]


def import_weights(source: Path) -> Path:
    """Convert the published VGGFace2 pickle at ``source`` into the user's cache; gives the new file.

    Raises :class:`~fer_cli.errors.ModelError` if it is not what was published. Nothing in it is run.
    """
    from fer_cli.models.vggface2 import import_published

    target = ImportedWeights.target(cast(ImportedWeights, ALL[VGGFACE2]))
    with locked(target, "importing to"):
        import_published(source, target)
    return target
