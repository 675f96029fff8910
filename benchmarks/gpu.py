"""One table of what a GPU does with fer, in eight minutes at most: speed, precisions, and equality with the processor.

    make gpu                                         where there is a GPU, of any kind that torch sees
    python benchmarks/gpu.py --device cpu --small    all of it at a tiny size, to see that the script works

- ViT-SE (ViT-B/16, 224 pixels, `fer train vit-se`) in images/s, in each precision and compiled, next to transformers'
  Trainer with a ViTForImageClassification on the same files, set up as by its image-classification example: pictures
  decoded and augmented one by one by torchvision, without worker processes (its default) and with several.
- Stage 1 of disentangled, with and without its frozen identity encoder; embeddings; `Predictor`; two processes.
- Equality with the processor: probabilities, embeddings, a step's loss and gradients, the losses of whole trainings.

Weights are random, but for the packaged model's, and pictures are drawn: nothing is downloaded. Each part is a process
of its own with a share of the time that is left of --seconds; one that fails, takes too long or has no time left is a
row that says so. The device is synchronised before a clock is read, the first steps do not count, and figures are
medians. The table and its rows as JSON lines go to ./benchmarks-out/gpu. The exit code is 1 where a difference exceeds
its tolerance, and where there is no GPU.
"""

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import psutil
import torch
import torchvision
import transformers

import fer_cli
from fer_cli.distributed import cores
from fer_cli.errors import FerError
from fer_cli.models.device import available_devices, choose_device, choose_precision, device_name, has_tf32

# Run as a script, Python looks for modules next to it.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.budget import Part, Row, append, figure, run_parts, run_process, shortened, write_table
from benchmarks.gpu_equality import equality, trainings
from benchmarks.gpu_speed import embeddings, prediction, stage_1, training, two_processes
from benchmarks.gpu_work import Job, pictures

OUT = Path("benchmarks-out/gpu")
#: Seconds kept to end the last part, should it not end by itself.
ENDING = 5.0
PRECISIONS = ("bfloat16", "tf32", "float32", "float16")
#: What measures each part, by its name, and its weight in sharing the time.
MEASURES: dict[str, tuple[Callable[[Job], Iterable[Row]], float]] = {
    "pictures": (pictures, 4.0),
    "equality": (equality, 1.5),
    **{f"training, {name}": (partial(training, precision=name), 2.0) for name in PRECISIONS},
    "stage 1": (stage_1, 1.0),
    "embeddings": (embeddings, 1.0),
    "prediction": (prediction, 1.5),
    "trainings": (trainings, 1.0),
    "two processes": (two_processes, 1.5),
    # Last, for compiling takes longest and may have what the others leave.
    **{
        f"training, {name}, compiled": (partial(training, precision=name, compiled=True), 2.0)
        for name in PRECISIONS[:2]
    },
}


def refusal(name: str, device: torch.device) -> str:
    """Why ``device`` does not run the part of this name; empty where it does."""
    if name == "two processes":
        alone = device.type != "cpu" and len(available_devices()) < 3
        return "there is one GPU" if alone else ""
    precision = next((each for each in PRECISIONS if each in name), None)
    if precision == "tf32":
        return "" if has_tf32(device) else "this device has no TF32"
    if (
        precision == "bfloat16"
        and device.type == "cuda"
        and not torch.cuda.is_bf16_supported(including_emulation=False)
    ):
        return "this GPU has no bfloat16"
    try:
        choose_precision(precision or "auto", device)
    except FerError as error:
        return error.message
    return ""


def facts(device: torch.device) -> dict[str, str]:
    """The machine and the versions that the figures are of."""
    memory = ""
    if device.type in ("cuda", "xpu"):
        memory = f", {torch.accelerator.get_memory_info(device)[1] / 2**30:.0f} GiB"
    toolkits = (("CUDA", torch.version.cuda), ("ROCm", torch.version.hip))
    built = [f"{name} {version}" for name, version in toolkits if version]
    versions = {"torch": torch, "torchvision": torchvision, "transformers": transformers, "fer": fer_cli}
    return {
        "card": f"{device_name(device)}{memory}, of {max(1, len(available_devices()) - 1)}",
        "driver": f"{driver(device) or 'none found'}; torch is built for {' and '.join(built) or 'processors only'}",
        "versions": ", ".join(f"{name} {module.__version__}" for name, module in versions.items()),
        "machine": f"{platform.machine()}, {cores()} cores, Python {platform.python_version()}, {platform.system()}",
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    }


def driver(device: torch.device) -> str:
    """The version of the GPU's driver, where it can be found out."""
    if device.type == "xpu":
        return str(torch.xpu.get_device_properties(device).driver_version)
    if device.type == "cuda" and torch.version.hip:
        version = Path("/sys/module/amdgpu/version")
        return version.read_text().strip() if version.is_file() else ""
    if device.type == "cuda":
        line = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        with suppress(OSError, subprocess.SubprocessError):
            return subprocess.run(line, capture_output=True, text=True, check=True, timeout=20).stdout.split()[0]
    return ""


def measure(name: str, job: Job, rows: Path) -> None:
    """Run a part in this process, and write its rows as they come."""
    try:
        for row in MEASURES[name][0](job):
            append(rows, row)
    except FerError as error:
        append(rows, Row(name, note=shortened(f"failed: {error.message} {error.hint}")))


def main() -> int:
    """Run the parts, each in a process, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="auto, cuda, cuda:1, xpu, mps; cpu with --small")
    parser.add_argument("--small", action="store_true", help="tiny networks and pictures")
    parser.add_argument("--seconds", type=float, default=480, help="for all parts together")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the table and of all that is made for it")
    parser.add_argument("--part", choices=MEASURES, help=argparse.SUPPRESS)
    parser.add_argument("--until", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    # Importing torch took part of the time.
    begun = psutil.Process().create_time()
    try:
        device = choose_device(chosen.device)
    except FerError as error:
        sys.exit(f"{error.message} {error.hint}")
    if device.type == "cpu" and not chosen.small:
        sys.exit(
            f"There is no GPU that torch {torch.__version__} sees; fer doctor says why. To try this script out: "
            "python benchmarks/gpu.py --device cpu --small"
        )
    if chosen.part:
        measure(chosen.part, Job(device, chosen.out, chosen.small, chosen.until), chosen.rows)
        return 0
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    chosen.out.mkdir(parents=True, exist_ok=True)
    title, found, about = "fer on a GPU", [], facts(device)
    if chosen.small:
        title = "fer at a tiny size: that the script works, and nothing of how fast anything is"
    line = [sys.executable, __file__, "--device", str(device), "--out", str(chosen.out), *["--small"] * chosen.small]

    def launch(part: Part, seconds: float) -> list[Row]:
        name = part.name.replace(", ", "-").replace(" ", "-")
        rows, log = (chosen.out / "parts" / f"{name}.{ending}" for ending in ("jsonl", "log"))
        log.parent.mkdir(exist_ok=True)
        own = ["--part", part.name, "--rows", str(rows), "--until", str(time.time() + seconds)]
        return run_process(part, [*line, *own], rows, log, seconds)

    parts = [Part(name, weight, refusal(name, device)) for name, (_, weight) in MEASURES.items()]
    for row in run_parts(parts, launch, begun + chosen.seconds - ENDING):
        found.append(row)
        print(" | ".join(filter(None, (row.part, row.what, f"{figure(row)} {row.unit}".strip(), row.note))), flush=True)
        about["taken"] = f"{time.time() - begun:.0f} of {chosen.seconds:.0f} s"
        # After each, so that a table is there however this ends.
        table = write_table(chosen.out, title, about, found)
    print(table)
    return int(any(row.equal is False for row in found))


if __name__ == "__main__":
    sys.exit(main())
