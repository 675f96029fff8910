"""Devices, and the precision that each computes well in."""

import torch

from fer_cli.errors import UsageError

KINDS = ("cpu", "cuda", "mps", "xpu")


def choose_device(wanted: str = "auto") -> torch.device:
    """The device ``wanted`` names: ``auto``, ``cpu``, ``cuda``, ``cuda:N``, ``mps`` or ``xpu``.

    ``auto`` is the first GPU of whatever kind is present (ROCm's are called ``cuda`` by torch), else the CPU. Raises
    :class:`~fer_cli.errors.UsageError` if there is no such device here.
    """
    present = available_devices()
    wanted = wanted.strip().lower()
    if wanted == "auto":
        return present[-1] if len(present) == 1 else present[1]
    kind, _, index = wanted.partition(":")
    if kind not in KINDS or (index and not index.isdigit()) or (kind == "cpu" and index):
        raise UsageError(
            f"--device {wanted}: not a device.", hint=f"Type auto, {', '.join(KINDS)}, or one by number such as cuda:1."
        )
    # "cuda" alone is the first of its kind: a device without an index is not equal to the one with index 0.
    device = torch.device(kind) if kind == "cpu" else torch.device(kind, int(index or 0))
    if device not in present:
        raise UsageError(
            f"--device {wanted}: there is none here; torch {torch.__version__} sees {', '.join(map(str, present))}.",
            hint="Type --device auto to use what is present.",
        )
    return device


def available_devices() -> list[torch.device]:
    """The CPU, then every GPU that torch sees."""
    devices = [torch.device("cpu")]
    if torch.accelerator.is_available():
        accelerator = torch.accelerator.current_accelerator()
        kind = "cuda" if accelerator is None else accelerator.type
        devices += [torch.device(kind, index) for index in range(torch.accelerator.device_count())]
    return devices


def device_name(device: torch.device) -> str:
    """The device's name for a person: ``NVIDIA H100 80GB HBM3 (cuda:0)``, ``CPU (8 threads)``."""
    if device.type == "cpu":
        threads = torch.get_num_threads()
        return f"CPU ({threads} thread{'s' if threads > 1 else ''})"
    namer = getattr(getattr(torch, device.type, None), "get_device_name", None)
    return f"{namer(device)} ({device})" if namer else str(device)


def choose_precision(wanted: str, device: torch.device) -> str:
    """``float32``, ``bfloat16`` or ``float16``, for ``wanted`` or, if that is ``auto``, for what ``device`` does well.

    GPUs without bfloat16 train in float16, with a scaled loss, if they have units for it (NVIDIA's since Volta: V100,
    T4). Processors without AMX compute bfloat16 two to three times slower than float32. Raises
    :class:`~fer_cli.errors.UsageError` if float16 is wanted of a processor, which cannot train with it.
    """
    if wanted == "float16" and device.type != "cuda":
        raise UsageError(f"--precision float16: not on {device.type}.", hint="Type --precision auto.")
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bfloat16"
        return "float16" if torch.cuda.get_device_capability(device) >= (7, 0) else "float32"
    if device.type == "xpu":
        return "bfloat16" if torch.xpu.is_bf16_supported(including_emulation=False) else "float32"
    if device.type == "cpu":
        return "bfloat16" if torch.cpu.get_capabilities().get("amx_bf16", False) else "float32"
    return "float32"


def has_tf32(device: torch.device) -> bool:
    """Whether ``device`` multiplies float32 in TF32 (NVIDIA's since Ampere)."""
    return device.type == "cuda" and torch.version.cuda is not None and torch.cuda.get_device_capability(device)[0] >= 8
