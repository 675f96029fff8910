"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

Device = Annotated[
    str, typer.Option(help="auto (whatever GPU is present, else the CPU), cpu, cuda, cuda:N, mps or xpu.")
]
DetectorModel = Annotated[
    Path | None, typer.Option(help="YuNet's .onnx file. Default: FER_YUNET, else downloaded once.")
]
AllowSeen = Annotated[
    bool,
    typer.Option(
        "--allow-seen-subjects",
        help="Test even on subjects that the model, or a run it starts from, was trained on. Every report will say so.",
    ),
]
