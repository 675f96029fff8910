"""A prepared dataset made in a moment: squares for faces, whose tone is the person and whose mark is the expression."""

import hashlib
import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from fer_cli.dataset.pairing import assign_folds
from fer_cli.dataset.prepare import Journal, begin, finish
from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.dataset.schema import COLUMNS
from fer_cli.protocol import Protocol
from fer_cli.runs.run import VERSION

CLASSES = ("anger", "happiness", "surprise")


def made_dataset(
    folder: Path, *, subjects: int = 9, folds: int = 3, size: int = 32, corpus: str = "made", margin: float = 0.15
) -> PreparedDataset:
    """Each subject's neutral face, and an apex of each of three classes: a bright bar at the top, middle or bottom."""
    classes = CLASSES
    names = [f"P{number:02d}" for number in range(1, subjects + 1)]
    fold_of = assign_folds([(subject, label) for subject in names for label in classes], folds, "id-step")
    protocol = Protocol("Made", classes, "last frame", folds, "id-step")
    identity = {"corpus": corpus, "subjects": subjects}
    begin(folder, identity, overwrite=False)
    journal = Journal(folder)
    rows = []
    with journal:
        for number, subject in enumerate(names):
            for label in ("neutral", *classes):
                name = f"images/{subject}/{label}.png"
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(_picture(number, label, size)).save(folder / name)
                digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
                journal.add(name, sha256=digest, aligned_by="none", faces_found=1)
                resting = label == "neutral"
                neutral = None if resting else f"images/{subject}/neutral.png"
                rows.append(
                    {
                        "file_name": name,
                        "label": label,
                        "subject": subject,
                        "sequence": None if resting else label,
                        "frame": label,
                        "role": "neutral" if resting else "apex",
                        "neutral_file_name": neutral,
                        "split": None,
                        "fold": fold_of[subject],
                    }
                )
    metadata = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"fold": "Int64"})
    card = {
        "version": 1,
        "corpus": corpus,
        "settings": identity,
        "protocol": protocol.to_dict(),
        "crop": {"size": size, "margin": margin, "detector": "none"},
    }
    finish(folder, metadata, card, journal, keep=set(metadata["file_name"]))
    return PreparedDataset.open(folder)


def run_card(classes: tuple[str, ...] = CLASSES, **changes: Any) -> dict[str, Any]:
    """What training writes into ``run.json``, with ``changes``."""
    return {
        "version": VERSION,
        "model": "difference",
        "command": "fer train difference",
        "recipe": {},
        "fold": 0,
        "classes": list(classes),
        "protocol": Protocol("Made", classes, "last frame", 3, "id-step").to_dict(),
        "dataset": {"path": "gone", "name": "made", "corpus": "made", "fingerprint": "0"},
        "subjects": {"train": ["P03"], "val": ["P02"], "test": ["P01"]},
        "seen": {},
        "epoch_rule": "lowest loss on the validation fold",
        "versions": {"fer": "0"},
        **changes,
    }


def unnamed(made: PreparedDataset, splits: dict[str, str | None]) -> PreparedDataset:
    """The dataset as of a corpus that names nobody: each class's rows get the ``splits``, in turn."""
    metadata = pd.read_csv(made.path / "metadata.csv", dtype="string")
    metadata["split"] = [list(splits.values())[place % len(splits)] for place in range(len(metadata))]
    metadata[["subject", "fold", "neutral_file_name"]] = None
    metadata.to_csv(made.path / "metadata.csv", index=False)
    card = json.loads((made.path / "dataset.json").read_text())
    card["protocol"]["folds"] = 0
    (made.path / "dataset.json").write_text(json.dumps(card))
    return PreparedDataset.open(made.path)


def abandoned(folder: Path, name: str) -> Path:
    """What a process of this machine leaves in ``folder`` that is killed while it writes ``name``."""
    from fer_cli.files import written_whole

    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with suppress(InterruptedError), written_whole(folder / name) as part:
        left = part.with_name(part.name.replace(f"-{os.getpid()}.", f"-{ended.pid}."))
        raise InterruptedError
    left.touch()
    return left


def made_model(*, features: str = "both", classes: tuple[str, ...] = CLASSES):
    """A small model whose answers depend on what it sees, which those of a network fresh from its seed hardly do."""
    import torch

    from fer_cli.models import DifferenceConfig, DifferenceModel

    torch.manual_seed(0)
    names = dict(enumerate(classes))
    labels = {name: index for index, name in names.items()}
    config = DifferenceConfig(backbone="mobilenet_v3_small", features=features, id2label=names, label2id=labels)
    model = DifferenceModel(config)
    batch_norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for module in batch_norms:
        module.momentum = 1.0
        module.train()
    with torch.no_grad():
        model.encoder(torch.randn(16, 3, 64, 64))
    return model.eval()


def sface_graph(
    path: Path,
    *,
    side: int = 112,
    width: int = 128,
    inputs: int = 1,
    batch: int | str = 1,
    bias: float = 0.0,
    seed: int = 0,
) -> Path:
    """A small ONNX file of SFace's inputs and outputs: 14×14 means of each colour, then one random linear layer."""
    from onnx import TensorProto, helper, numpy_helper, save

    random = np.random.default_rng(seed)
    cells = 3 * (side // 14) ** 2
    weights = (random.standard_normal((cells, width)) / 16).astype(np.float32)
    # The colours count differently, so that their order is seen.
    weights *= np.repeat([1.0, 0.5, 0.25], cells // 3).astype(np.float32)[:, None]
    names = ["data", "data2"][:inputs]
    graph = helper.make_graph(
        [
            helper.make_node("AveragePool", ["data"], ["pooled"], kernel_shape=[14, 14], strides=[14, 14]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("Gemm", ["flat", "weights", "bias"], ["fc1"]),
        ],
        "made",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, 3, side, side]) for name in names],
        [helper.make_tensor_value_info("fc1", TensorProto.FLOAT, [batch, width])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(np.full(width, bias, "f4"), "bias")],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def _picture(subject: int, label: str, size: int) -> np.ndarray:
    noise = np.random.default_rng([subject, len(label)]).integers(0, 12, (size, size, 3))
    picture = (noise + 40 + 12 * (subject % 9)).astype(np.uint8)
    if label != "neutral":
        third = size // 3
        top = CLASSES.index(label) * third
        picture[top : top + third // 2, :, CLASSES.index(label)] = 250
    return picture
