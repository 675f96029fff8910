"""Where the detector's file comes from."""

import hashlib
import os
from pathlib import Path

from fer_cli.errors import DetectorError
from fer_cli.files import LFS_POINTER, is_lfs_pointer, open_regular, read_bytes
from fer_cli.progress import Progress, silent

REPOSITORY = "opencv/face_detection_yunet"
FILE = "face_detection_yunet_2023mar.onnx"
REVISION = "3cc26e7f1014a5ee5d74a42acee58bafc9d0a310"
SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
VARIABLE = "FER_YUNET"

MEND = (
    f"Type --detector-model PATH with {FILE}, set {VARIABLE} to it, or type --detector none if the pictures are faces "
    "already cropped."
)


def find_detector_model(path: Path | None = None, progress: Progress = silent) -> Path:
    """The detector's file: ``path``, else the one that FER_YUNET names, else downloaded once from the Hugging Face Hub.

    Raises :class:`~fer_cli.errors.DetectorError` if it is not there, or what was downloaded is not what is expected.
    """
    named = path or os.environ.get(VARIABLE)
    if not named:
        progress("fetching the face detector", 0, None)
        return _downloaded()
    given = Path(named).expanduser()
    if not given.is_file():
        by = "--detector-model" if path else VARIABLE
        raise DetectorError(f"{by} names {given}, which is not a file.", mend=MEND)
    try:
        open_regular(given).close()
    except OSError as error:
        raise DetectorError(f"{given} cannot be read: {error.strerror or error}.", mend=MEND) from error
    if is_lfs_pointer(given):
        raise DetectorError(f"{given} is {LFS_POINTER}.", mend=MEND)
    return given


def _downloaded() -> Path:
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.utils import disable_progress_bars, logging

    disable_progress_bars()
    logging.set_verbosity_error()
    try:
        file = Path(hf_hub_download(REPOSITORY, FILE, revision=REVISION))
    except Exception as error:  # the hub's errors, the network's, and the disk's
        raise DetectorError(
            f"The face detector {FILE} is not in {constants.HF_HUB_CACHE} and cannot be downloaded from "
            f"{REPOSITORY} ({type(error).__name__}: {str(error).partition('. ')[0]}).",
            mend=MEND,
        ) from error
    if hashlib.sha256(read_bytes(file)).hexdigest() != SHA256:
        # The cache shows a link; only without what it links to does the hub download anew.
        raise DetectorError(
            f"{file.resolve()} is not the file that was expected: its checksum differs.", mend=f"Remove it. {MEND}"
        )
    return file
