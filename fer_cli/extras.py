"""Optional libraries: what each is for, the extra of fer-cli that brings it, and the error where it is missing.

pyproject.toml declares the extras; ``fer doctor`` lists this table. Whatever needs one of these libraries calls
:func:`require` before any long work, and imports it where it is used.
"""

from dataclasses import dataclass
from importlib.util import find_spec

from fer_cli.errors import FerError, MissingLibraryError


@dataclass(frozen=True)
class Library:
    """An optional library: its ``distribution`` on the package index, the ``title`` that it goes by, its ``purpose``.

    ``extra`` brings it; None where people choose and install it for themselves.
    """

    distribution: str
    title: str
    purpose: str
    extra: str | None = None

    @property
    def install(self) -> str:
        """The line that installs it."""
        return f"pip install 'fer-cli[{self.extra}]'" if self.extra else f"pip install {self.distribution}"

    @property
    def hint(self) -> str:
        """What to type where it is missing, as errors say it."""
        return f"Type: {self.install}"


#: Optional libraries by the names that they are imported by.
LIBRARIES = {
    "av": Library("av", "PyAV", "videos", "video"),
    "pillow_heif": Library("pillow-heif", "pillow-heif", "HEIC pictures", "heic"),
    "onnxscript": Library("onnxscript", "onnxscript", "fer export of some networks, such as VGGFace2's", "onnx"),
    "tensorboard": Library("tensorboard", "TensorBoard", "--logger tensorboard", "tensorboard"),
    "ray": Library("ray", "Ray Data", "--engine ray", "ray"),
    "aiohttp": Library("aiohttp", "aiohttp", "https:// addresses", "cloud"),
    "s3fs": Library("s3fs", "s3fs", "s3:// addresses", "cloud"),
    "gcsfs": Library("gcsfs", "gcsfs", "gs:// addresses", "cloud"),
    "wandb": Library("wandb", "wandb", "--logger wandb"),
    "mlflow": Library("mlflow", "mlflow", "--logger mlflow"),
}


def is_installed(module: str) -> bool:
    """Whether ``module`` of :data:`LIBRARIES` can be found; it is not imported."""
    return find_spec(module) is not None


def require(module: str, what: str = "", error: type[FerError] = MissingLibraryError) -> None:
    """Raise ``error``, which says what to type, unless ``module`` of :data:`LIBRARIES` is installed.

    ``what`` needs it, as the beginning of a sentence in the singular: ``--engine ray``.
    """
    if not is_installed(module):
        raise missing(module, what, error)


def missing(module: str, what: str = "", error: type[FerError] = MissingLibraryError) -> FerError:
    """The error of :func:`require`."""
    library = LIBRARIES[module]
    return error(f"{what or library.purpose} needs {library.title}, which is not installed.", hint=library.hint)
