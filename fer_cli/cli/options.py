"""Options that several commands have."""

from typing import Annotated

import typer

Device = Annotated[
    str, typer.Option(help="auto (a GPU if there is one), cpu, cuda, cuda:N, mps or xpu.", rich_help_panel="Compute")
]
AllowSeen = Annotated[
    bool,
    typer.Option(
        "--allow-seen-subjects",
        help="Test even on subjects that the model was trained on.",
        rich_help_panel="Data",
    ),
]
