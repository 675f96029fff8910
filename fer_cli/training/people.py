"""What a run keeps of the people whom it was trained on, for the day when it meets people without a neutral face."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import torch
from transformers import PreTrainedModel

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.embeddings.neutral import neutral_mean
from fer_cli.embeddings.store import Embeddings
from fer_cli.models.identity import IdentityModel
from fer_cli.models.preprocessing import Preprocessing
from fer_cli.training.recipe import Recipe


def remember_people(
    model: PreTrainedModel,
    recipe: Recipe,
    dataset: PreparedDataset,
    preprocessing: Preprocessing,
    sides: Mapping[str, pd.DataFrame],
    embeddings: Embeddings | None,
    out: Path,
    device: torch.device,
) -> None:
    """Write ``neutral.safetensors`` into the run ``out``, if its model compares people or tells them apart.

    ``embeddings`` are what a frozen encoder made of the dataset; None where the encoder was trained.
    """
    if not (recipe.paired or isinstance(model, IdentityModel)):
        return
    subjects = set(sides["train"]["subject"].dropna())
    found = neutral_mean(
        model.encoder,
        dataset,
        preprocessing,
        subjects=subjects,
        fold=recipe.fold,
        device=device,
        embeddings=embeddings,
    )
    if found is not None:
        found.save(out)
