"""Diagnosis of an installation: versions, device, threads, caches, weights, network, video, fonts, and its speed.

Nothing is changed and nothing is downloaded. Each finding says what was found and, where something is wrong, what to
type.
"""

import importlib.metadata
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from urllib.request import getproxies

import fer_cli
from fer_cli import extras
from fer_cli.distributed import busy_cores, cores
from fer_cli.errors import FerError, ModelError
from fer_cli.files import cache_folder
from fer_cli.progress import Progress, silent

Status = Literal["ok", "note", "problem"]

#: What fer needs, and what is asked for first when something goes wrong.
LIBRARIES = ("torch", "torchvision", "transformers", "timm", "onnxruntime", "opencv-python-headless", "scikit-learn")
#: Formats of videos that are usual, by FFmpeg's names of their decoders.
DECODERS = {"h264": "H.264", "hevc": "HEVC", "vp9": "VP9", "av1": "AV1"}
#: Pictures of the known workload, and how often it is repeated.
BATCH, REPEATS = 32, 5
#: Pictures a second of the known workload by one thread of the processor that docs/performance.md measured on, and the
#: share of that which is called slow.
USUAL, SLOW = 145.0, 0.4
#: Seconds that the network is waited for.
PATIENCE = 5.0
#: How the names of the Hub's and torch's files end while they are downloaded.
PARTS = (".incomplete", ".partial")
_LOW_DISK, _LOW_MEMORY = 2e9, 2e9


@dataclass(frozen=True)
class Finding:
    """What was found about one thing: ``topic``, ``name``, whether it is well, its ``value``, and what to type."""

    topic: str
    name: str
    status: Status
    value: str
    hint: str = ""

    def to_dict(self) -> dict[str, str]:
        """The finding as JSON holds it."""
        return asdict(self)


def diagnose(device: str = "auto", *, network: bool = True, progress: Progress = silent) -> Iterator[Finding]:
    """Findings about this machine and installation, one after the other; nothing raises.

    ``device`` is as :func:`~fer_cli.models.device.choose_device` takes it. Without ``network`` nothing is asked of it.
    """
    parts: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("versions", versions),
        ("device", lambda: devices(device)),
        ("threads", threads),
        ("memory and disk", room),
        ("caches", caches),
        ("weights", weights),
        ("detector", detector),
        *([("network", reach)] if network else []),
        ("video", video),
        ("fonts", fonts),
        ("speed", speed),
    ]
    for done, (topic, part) in enumerate(parts):
        progress(f"checking {topic}", done, len(parts))
        try:
            yield from part()
        except FerError as error:
            yield Finding(topic, topic, "problem", error.message, error.hint)
        except Exception as error:  # whatever is broken on a broken installation is what is looked for
            yield Finding(topic, topic, "problem", f"{type(error).__name__}: {error}", "pip install --upgrade fer-cli")


def versions() -> Iterator[Finding]:
    """The versions of fer, Python, and the libraries that matter."""
    yield Finding("versions", "fer", "ok", f"{fer_cli.__version__}, in {Path(fer_cli.__file__).parent}")
    yield Finding("versions", "Python", "ok", f"{platform.python_version()} on {platform.platform(terse=True)}")
    for name in LIBRARIES:
        found = _version(name)
        missing = "not installed", f"pip install {name}"
        yield Finding("versions", name, "ok" if found else "problem", *((found,) if found else missing))
    for library in extras.LIBRARIES.values():
        found = _version(library.distribution)
        value = found or f"not installed; only for {library.purpose}"
        yield Finding("versions", library.distribution, "ok", value, "" if found else library.install)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def devices(wanted: str = "auto") -> Iterator[Finding]:
    """The device that would be used, why, its memory, and the precision that it trains in."""
    import torch

    from fer_cli.models.device import available_devices, choose_device, choose_precision, device_name, has_tf32

    chosen = choose_device(wanted)
    for device in available_devices()[1:]:
        yield Finding("device", str(device), "ok", device_name(device) + _memory_of(device))
    status: Status = "ok"
    why, hint = "the first GPU that torch sees", ""
    if wanted != "auto":
        why = "as asked"
    elif chosen.type == "cpu":
        status, why, hint = _why_no_gpu(torch.version.cuda, torch.version.hip, shutil.which("nvidia-smi") is not None)
    yield Finding("device", "chosen", status, f"{device_name(chosen)}: {why}", hint)
    precision = choose_precision("auto", chosen) + (", float32 products in TF32" if has_tf32(chosen) else "")
    yield Finding("device", "precision", "ok", f"training in {precision}")


def _memory_of(device: Any) -> str:
    import torch

    if device.type != "cuda":
        return ""
    free, total = torch.cuda.mem_get_info(device)
    return f", {free / 2**30:.1f} of {total / 2**30:.1f} GiB free"


def _why_no_gpu(cuda: str | None, hip: str | None, has_nvidia: bool) -> tuple[Status, str, str]:
    """Why torch, built for ``cuda``, ``hip`` or neither, sees no GPU, and what to type where there seems to be one."""
    if not has_nvidia:
        return "ok", "torch sees no GPU", ""
    if cuda is None and hip is None:
        return (
            "problem",
            "there is an NVIDIA driver, and this torch was built for processors only",
            "Install torch as https://pytorch.org/get-started/locally says for your CUDA version.",
        )
    return (
        "problem",
        f"there is an NVIDIA driver, and torch (built for CUDA {cuda}) cannot use it",
        "Type nvidia-smi: the driver may be older than this CUDA, or CUDA_VISIBLE_DEVICES may hide the GPU.",
    )


def threads() -> Iterator[Finding]:
    """Cores, torch's threads, and whether other programs use the cores now."""
    import torch

    own = cores()
    limit = os.environ.get("OMP_NUM_THREADS")
    named = f"{torch.get_num_threads()} threads of torch on {own} cores" + (
        f" (OMP_NUM_THREADS={limit})" if limit else ""
    )
    if torch.get_num_threads() > own:
        hint = f"Type: export OMP_NUM_THREADS={own}"
        yield Finding("threads", "threads", "problem", f"{named}: they wait for one another", hint)
    else:
        yield Finding("threads", "threads", "ok", named)
    yield _load(own, busy_cores(), torch.get_num_threads())


def _load(own: int, busy: float | None, used: int) -> Finding:
    """Whether ``busy`` cores leave enough of our ``own`` to ``used`` threads; None: it is not known."""
    if busy is None:
        return Finding("threads", "other programs", "ok", "this system does not say")
    if busy < 0.25 * max(own, 1):
        return Finding("threads", "other programs", "ok", f"{busy:.1f} of {os.cpu_count()} cores busy")
    text = f"{busy:.1f} of {os.cpu_count()} cores busy: threads that share a core with others wait for one another"
    free = max(1, round(own - busy))
    hint = "Wait for the other programs, or it takes longer."
    if used > free:
        hint = f"Type: export OMP_NUM_THREADS={free} before fer, or wait for the other programs."
    return Finding("threads", "other programs", "note", text, hint)


def room() -> Iterator[Finding]:
    """Memory and space on the disks that fer writes to."""
    import psutil

    memory = psutil.virtual_memory()
    free = f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free"
    if memory.available < _LOW_MEMORY:
        yield Finding("room", "memory", "note", free, "Type --batch-size 8, or end other programs.")
    else:
        yield Finding("room", "memory", "ok", free)
    for name, folder in (("this folder", Path.cwd()), ("temporary files", Path(tempfile.gettempdir()))):
        space = shutil.disk_usage(folder)
        text = f"{space.free / 2**30:.1f} of {space.total / 2**30:.1f} GiB free in {folder}"
        low = space.free < _LOW_DISK
        hint = "Make room there" + (", or type: export TMPDIR=FOLDER" if name == "temporary files" else "") + "."
        yield Finding("room", name, "note" if low else "ok", text, hint if low else "")


def caches() -> Iterator[Finding]:
    """The folders that weights are kept in: their size, and whether they can be used."""
    import torch
    from huggingface_hub import constants

    for name, folder, variable in (
        ("fer", cache_folder(), "FER_CACHE"),
        ("torch", Path(torch.hub.get_dir()), "TORCH_HOME"),
        ("Hugging Face Hub", Path(constants.HF_HUB_CACHE), "HF_HOME"),
    ):
        yield _cache(name, folder, variable)


def _cache(name: str, folder: Path, variable: str) -> Finding:
    there = next((each for each in (folder, *folder.parents) if each.exists()), folder)
    if not there.is_dir():
        text = f"{folder}: {there} is not a folder"
        return Finding("caches", name, "problem", text, f"Remove it, or type: export {variable}=FOLDER")
    if not os.access(there, os.W_OK | os.X_OK):
        return Finding("caches", name, "problem", f"{folder}: cannot be written", f"Type: export {variable}=FOLDER")
    if not folder.exists():
        return Finding("caches", name, "ok", f"{folder}: nothing there yet")
    size, broken = 0, []
    for path in folder.rglob("*"):
        try:
            # The Hub's snapshots are links to blobs, which count once.
            size += 0 if path.is_symlink() else path.stat().st_size
            if path.is_symlink() and not path.exists():
                broken.append(path)
            elif path.suffix in PARTS or (path.is_file() and not path.is_symlink() and not path.stat().st_size):
                broken += [path] if path.suffix in (*PARTS, ".onnx", ".pth", ".safetensors") else []
        except OSError:
            broken.append(path)
    text = f"{folder}: {size / 2**20:.0f} MiB"
    if not broken:
        return Finding("caches", name, "ok", text)
    return Finding(
        "caches",
        name,
        "problem",
        f"{text}, and {len(broken)} file{'s' * (len(broken) > 1)} damaged or downloaded in part, such as {broken[0]}",
        f"Type: rm '{broken[0]}' and the line again that fetched it.",
    )


def weights() -> Iterator[Finding]:
    """Which published weights are here, and whether they are whole."""
    from fer_cli.models.weights import ALL, FETCHABLE

    for name, each in ALL.items():
        how = f"fer weights fetch {name}" if name in FETCHABLE else "see fer weights list"
        try:
            # First, for a packaged model that is damaged has no place.
            each.check()
        except ModelError as error:
            yield Finding("weights", name, "problem", error.message, error.hint or how)
            continue
        if place := each.place():
            yield Finding("weights", name, "ok", f"{place}: whole")
        else:
            yield Finding("weights", name, "ok", f"not here; for {each.used_for}", how)


def detector() -> Iterator[Finding]:
    """The face detector: whether YuNet's file is here and works, else the cascade."""
    import numpy as np

    from fer_cli.faces import yunet
    from fer_cli.models.weights import ALL

    named = os.environ.get(yunet.VARIABLE)
    place = ALL["yunet"].place()
    if place is None and named:
        text, hint = f"{yunet.VARIABLE} names {named}, which is no file", f"Type: unset {yunet.VARIABLE}"
        yield Finding("detector", "YuNet", "problem", text, hint)
        return
    if place is None:
        text = "not here: without a network, frontal faces are found by the cascade, others not"
        yield Finding("detector", "YuNet", "note", text, "fer weights fetch yunet")
        return
    try:
        yunet.YuNet(place, 0.9).find(np.zeros((64, 64, 3), np.uint8))
    except Exception as error:  # onnx's and ONNX Runtime's, for whatever the file holds
        reason = str(error).splitlines()[0][:120]
        yield Finding("detector", "YuNet", "problem", f"{place} does not work: {reason}", "fer weights fetch yunet")
        return
    yield Finding("detector", "YuNet", "ok", str(place))


def reach() -> Iterator[Finding]:
    """Whether the Hugging Face Hub, from which weights come, answers."""
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        text = "HF_HUB_OFFLINE is set: nothing is downloaded"
        yield Finding("network", "Hugging Face Hub", "note", text, "Type: unset HF_HUB_OFFLINE")
        return
    address = constants.ENDPOINT
    begun = time.perf_counter()
    try:
        # By the client that downloads, so that proxies and certificates are its own.
        get_session().head(address, timeout=PATIENCE)
    except Exception as error:  # the client's errors, and the network's
        hint = "What is here is used. For more: fer weights fetch --all where there is a network, and copy the caches."
        by = ""
        if proxy := getproxies().get(urlsplit(address).scheme):
            by = f" by the proxy {proxy.rpartition('@')[2]}"
            hint = f"Is the proxy right that the environment names? {hint}"
        yield Finding("network", "Hugging Face Hub", "note", f"{address} does not answer{by}: {error}", hint)
        return
    milliseconds = 1000 * (time.perf_counter() - begun)
    yield Finding("network", "Hugging Face Hub", "ok", f"{address} answers in {milliseconds:.0f} ms")


def video() -> Iterator[Finding]:
    """FFmpeg, as PyAV brings it, and the formats that it reads and writes."""
    if not extras.is_installed("av"):
        yield Finding("video", "FFmpeg", "ok", "not here; only for videos", extras.LIBRARIES["av"].install)
        return
    import av

    written = "H.264" if "libx264" in av.codecs_available else "MPEG-4"
    text = f"{'.'.join(map(str, av.library_versions['libavcodec']))} (libavcodec) in PyAV, which writes {written}"
    if lacking := [title for name, title in DECODERS.items() if name not in av.codecs_available]:
        text += f", and does not read {', '.join(lacking)}"
    yield Finding("video", "FFmpeg", "note" if lacking else "ok", text, _again("av") if lacking else "")


def fonts() -> Iterator[Finding]:
    """The fonts of annotated pictures and of plots."""
    from matplotlib.font_manager import findfont
    from PIL import features

    if features.check("freetype2"):
        yield Finding("fonts", "pictures", "ok", "Pillow's own")
    else:
        yield Finding("fonts", "pictures", "problem", "Pillow was built without FreeType: no text", _again("pillow"))
    try:
        yield Finding("fonts", "plots", "ok", str(findfont("DejaVu Sans", fallback_to_default=False)))
    except ValueError:
        yield Finding("fonts", "plots", "problem", "matplotlib's DejaVu Sans is not there", _again("matplotlib"))


def _again(distribution: str) -> str:
    return f"pip install --force-reinstall {distribution}"


def speed() -> Iterator[Finding]:
    """The speed of a small known workload on the processor, by one thread and by all: the packaged model's network."""
    import torch

    from fer_cli.models.inference import Classifier
    from fer_cli.pretrained import require_packaged

    network = Classifier.load(require_packaged(), "cpu").model
    size = network.config.image_size
    pictures = torch.rand(BATCH, 3, size, size, generator=torch.Generator().manual_seed(0))
    before = torch.get_num_threads()
    rates = {}
    try:
        for count in sorted({1, before}):
            torch.set_num_threads(count)
            rates[count] = _rate(lambda: network(pixel_values=pictures))
    finally:
        torch.set_num_threads(before)
    yield _speed(rates)


def _rate(work: Callable[[], Any]) -> float:
    import torch

    times = []
    with torch.inference_mode():
        work()
        for _ in range(REPEATS):
            begun = time.perf_counter()
            work()
            times.append(time.perf_counter() - begun)
    return BATCH / sorted(times)[REPEATS // 2]


def _speed(rates: dict[int, float]) -> Finding:
    """What rates, in pictures a second by number of threads, say of the machine."""
    text = ", ".join(f"{rate:.0f} by {count} thread{'s' * (count > 1)}" for count, rate in rates.items())
    text = f"{text}: pictures a second through the packaged network"
    most = max(rates)
    if most > 1 and rates[most] < 0.9 * rates[1]:
        text += "; more threads are slower: other programs use the cores"
        return Finding("speed", "processor", "note", text, "Type: export OMP_NUM_THREADS=1")
    if rates[1] < SLOW * USUAL:
        text += f"; {USUAL:.0f} by one thread are what fer was measured with: a slow machine, or a busy one"
        return Finding("speed", "processor", "note", text, "fer doctor again when nothing else runs tells which.")
    return Finding("speed", "processor", "ok", text)
