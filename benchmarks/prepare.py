"""How fast a preparation is, and whether it keeps every core busy.

    python benchmarks/prepare.py

Draws 2,002 frames of 640×490 pixels (kept in ./benchmarks-out), then prepares them with detection, as if their
landmarks were not known. The detector's file is taken from FER_YUNET. Prints pictures a second, and processor time over
wall time.
"""

import os
import resource
import shutil
import time
from pathlib import Path

from fer_cli.corpora.ckplus import CKPlus
from fer_cli.corpora.synthetic import Synthetic
from fer_cli.dataset.plan import Preparation
from fer_cli.dataset.prepare import prepare

OUT = Path("benchmarks-out")
#: 26 subjects × 7 expressions × 11 frames.
CORPUS = Synthetic(subjects=26, frames=11)


def processor_seconds() -> float:
    """What this process and its children have used so far."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


if __name__ == "__main__":
    root, out = OUT / "frames", OUT / "data" / "frames"
    CORPUS.make(root)
    # Without them the detector finds the faces.
    shutil.rmtree(root / "Landmarks", ignore_errors=True)
    shutil.rmtree(out, ignore_errors=True)
    begun, used = time.monotonic(), processor_seconds()
    prepared = prepare(CKPlus(), root, out, Preparation(apex_frames=10))
    wall, busy = time.monotonic() - begun, processor_seconds() - used
    print(f"{prepared.made} pictures in {wall:.1f} s: {prepared.made / wall:.1f} pictures/s")
    print(f"processor time {busy:.1f} s: {busy / wall:.2f} × wall on {os.cpu_count()} cores")
