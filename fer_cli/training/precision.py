"""The numbers that a training multiplies in, by what its device does well."""

import torch

from fer_cli.errors import UsageError


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
