"""Settings that others published, for ``--recipe``. Each field is a default in place of ours; all else stays."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Note:
    """The note's: Adam at torch's own rate, batch 32, 30 epochs, cross-entropy, and nothing else."""

    epochs: int = 30
    patience: int = 0
    batch_size: int = 32
    lr: float = 1e-3
    schedule: str = "constant"
    warmup: float = 0.0
    optimizer: str = "adam"
    weight_decay: float = 0.0
    clip: float = 0.0
    augment: str = "none"


@dataclass(frozen=True)
class NoteViTSE(Note):
    """The note's ViT-SE: a gate of ReLU on the pooler's output."""

    pooling: str = "pooler"
    se_reduction: int = 4
    se_gate: str = "relu"


@dataclass(frozen=True)
class PaperViTSE:
    """ViT-SE's author's, from the code after the paper (arXiv 2107.03107)."""

    epochs: int = 30
    patience: int = 0
    batch_size: int = 8
    lr: float = 1e-4
    schedule: str = "step"
    warmup: float = 0.0
    optimizer: str = "adamw"
    clip: float = 0.0
    augment: str = "paper"
    pooling: str = "class-token"
    se_reduction: int = 2
    se_gate: str = "sigmoid"
