"""How much slower training is beside another busy program, and what the program's waiting policy for threads changes.

    python benchmarks/busy.py

MobileNetV3-Small trains on pictures of 64×64 in batches of 32, alone and beside one process that does nothing but
compute: with OpenMP's own waiting (threads spin, on Linux 300,000 times), with the policy that ``fer`` sets (they
sleep), with a thousand spins before they sleep, and with one thread. Under two minutes on a machine that is otherwise
idle; the medians of ``--rounds`` are printed, and their ratios to the first.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time

from fer_cli.__main__ import wait_passively

BATCH, SIZE = 32, 64
#: By way of waiting, what the environment says; the program itself says it for ``passive``.
WAYS = {"spinning": {}, "passive": {}, "a thousand": {"GOMP_SPINCOUNT": "1000"}, "one thread": {"OMP_NUM_THREADS": "1"}}


def rates(seconds: float) -> tuple[float, float]:
    """Images a second of the training step in this process, alone and beside a busy process."""
    import torch
    from torch import nn

    from fer_cli.models import DifferenceConfig, DifferenceModel

    torch.manual_seed(0)
    config = DifferenceConfig("mobilenet_v3_small", features="target", tune_encoder=True, num_labels=7)
    network = DifferenceModel(config).train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    faces = torch.randn(BATCH, 3, SIZE, SIZE).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(7, (BATCH,))

    def rate(seconds: float) -> float:
        begun, steps = time.perf_counter(), 0
        while time.perf_counter() - begun < seconds:
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(faces).logits, labels).backward()
            optimizer.step()
            steps += 1
        return steps * BATCH / (time.perf_counter() - begun)

    rate(0.5)
    alone = rate(seconds)
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        rate(0.5)
        return alone, rate(seconds)
    finally:
        busy.kill()
        busy.wait()


def measured(way: str, seconds: float) -> tuple[float, float]:
    """What :func:`rates` gives in a new process whose threads wait in this ``way``."""
    unset = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_"))}
    line = [sys.executable, __file__, "--as", way, "--seconds", str(seconds)]
    done = subprocess.run(line, env={**unset, **WAYS[way]}, text=True, stdout=subprocess.PIPE, check=True)
    alone, beside = map(float, done.stdout.split())
    return alone, beside


def main(rounds: int, seconds: float) -> None:
    """Measure every way in turn, ``rounds`` times, so that what else the machine does falls on all of them."""
    found = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way in WAYS:
            found[way].append(measured(way, seconds))
    medians = {way: [statistics.median(values) for values in zip(*found[way], strict=True)] for way in WAYS}
    print(f"MobileNetV3-Small, training, {SIZE}×{SIZE}, batch {BATCH}, {os.cpu_count()} cores; images/s (ratio)")
    spinning = medians["spinning"]
    for way, (alone, beside) in medians.items():
        print(f"  {way:<10}  alone {alone:6.0f} ({alone / spinning[0]:.2f})", end="")
        print(f"   beside a busy process {beside:6.0f} ({beside / spinning[1]:.2f})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--as", dest="way", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        if arguments.way == "passive":
            wait_passively()
        print(*rates(arguments.seconds))
    else:
        main(arguments.rounds, arguments.seconds)
