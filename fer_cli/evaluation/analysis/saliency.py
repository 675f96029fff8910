"""Saliency: the parts of a face that a prediction rests on.

Grad-CAM (R. R. Selvaraju et al., *Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization*,
ICCV 2017, arXiv 1610.02391) on the last feature map of a MobileNetV3; attention rollout (S. Abnar and W. Zuidema,
*Quantifying Attention Flow in Transformers*, ACL 2020, arXiv 2005.00928) through a ViT's layers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib
import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from fer_cli.dataset.tensors import Crops
from fer_cli.models.classifier import Classifier
from fer_cli.models.vit_se import ViTSEModel
from fer_cli.progress import Progress, silent

GRAD_CAM, ROLLOUT = "Grad-CAM", "attention rollout"
#: How much of an overlay is the colour where the saliency is highest.
OPACITY = 0.6


@dataclass(frozen=True)
class Explanation:
    """Where in one face the answer came from.

    ``saliency``, S×S, goes from 0 to 1, which is the most of this face (all 0: nothing speaks for the answer);
    ``overlay``, S×S×3 uint8, is the face with it laid over. ``method`` made it: Grad-CAM is of the class ``predicted``,
    attention rollout of no class in particular.
    """

    file_name: str
    label: str
    predicted: str
    confidence: float
    method: str
    saliency: np.ndarray
    overlay: np.ndarray


def choose(predictions: pd.DataFrame, count: int) -> pd.DataFrame:
    """``count`` rows worth explaining: each class's surest mistake, its surest right answer, and so on."""
    right = predictions["label"] == predictions["predicted"]
    ordered = predictions.assign(right=right).sort_values(["confidence", "file_name"], ascending=[False, True])
    ordered["turn"] = ordered.groupby(["label", "right"]).cumcount()
    return ordered.sort_values(["turn", "right"], kind="stable").head(count).drop(columns=["right", "turn"])


def explain(
    classifier: Classifier, predictions: pd.DataFrame, crops: Crops, *, progress: Progress = silent
) -> list[Explanation]:
    """Explain each of the N ``predictions``: ``file_name, label, predicted, confidence`` and ``neutral_file_name``.

    The last is needed for a paired model only, whose saliency is that of the target face, its neutral face being what
    it is. Raises :class:`~fer_cli.errors.DatasetError` if a crop cannot be read.
    """
    explanations = []
    rollout = isinstance(classifier.model, ViTSEModel)
    for row in predictions.to_dict(orient="records"):
        crop = crops[row["file_name"]]
        pixels = classifier.preprocessing(crop[None]).to(classifier.device)
        if rollout:
            coarse = attention_rollout(classifier.model, pixels)
            # Every patch reaches the class token a little, which hides what reaches it more.
            coarse = coarse - coarse.min()
        else:
            neutral = None
            if classifier.paired:
                neutral = classifier.preprocessing(crops[row["neutral_file_name"]][None]).to(classifier.device)
            coarse = grad_cam(classifier.model, pixels, classifier.classes.index(row["predicted"]), neutral)
        saliency = _fitted(coarse, crop.shape[-2:])
        explanations.append(
            Explanation(
                row["file_name"],
                row["label"],
                row["predicted"],
                float(row["confidence"]),
                ROLLOUT if rollout else GRAD_CAM,
                saliency,
                _overlay(crop.permute(1, 2, 0).numpy(), saliency),
            )
        )
        progress("explaining", len(explanations), len(predictions))
    return explanations


def grad_cam(model: PreTrainedModel, pixels: Tensor, index: int, neutral: Tensor | None = None) -> Tensor:
    """Where in a face, ``pixels`` 1×3×S×S, the encoder saw what speaks for the class ``index``: h×w, 0 or more.

    The last feature map's channels, weighed by the mean gradient of the class's logit and summed. ``neutral``, 1×3×S×S,
    is the same person's neutral face where the model compares with one.
    """
    encoder = model.encoder
    with torch.no_grad():
        features = encoder.features(pixels)
        beside = {} if neutral is None else {"neutral_embeddings": encoder(neutral)}
    with torch.enable_grad():
        features = features.detach().requires_grad_()
        if hasattr(model, "identity"):
            with _giving(encoder.features, features):
                logits = model(pixels).logits
        else:
            logits = model(embeddings=torch.flatten(encoder.avgpool(features), 1), **beside).logits
        (gradient,) = torch.autograd.grad(logits[0, index], features)
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    return (weights * features).sum(dim=1)[0].relu().detach()


@torch.no_grad()
def attention_rollout(model: ViTSEModel, pixels: Tensor) -> Tensor:
    """How much of each patch of a face, ``pixels`` 1×3×S×S, reaches the class token: h×w, of sum 1 or less.

    Each layer's attention, the mean over its heads, is averaged with the identity (its residual connection), and the
    layers are multiplied.
    """
    vit = model.vit
    before = vit.config._attn_implementation
    # Only the plain implementation gives its attentions away.
    vit.set_attn_implementation("eager")
    try:
        attentions = vit(pixels, interpolate_pos_encoding=True, output_attentions=True).attentions
    finally:
        vit.set_attn_implementation(before)
    return rolled_out(torch.stack([layer[0] for layer in attentions]), pixels.shape[-2] // vit.config.patch_size)


def rolled_out(attentions: Tensor, rows: int) -> Tensor:
    """The rollout of ``attentions``, layers×heads×tokens×tokens, from the first token to the others, in ``rows``."""
    identity = torch.eye(attentions.shape[-1], device=attentions.device)
    flow = identity
    for layer in attentions.mean(dim=1):
        flow = (layer + identity) / 2 @ flow
    return flow[0, 1:].reshape(rows, -1)


@contextmanager
def _giving(module: nn.Module, output: Tensor) -> Iterator[None]:
    """Within it, ``module`` gives ``output`` whatever it is given."""
    hook = module.register_forward_hook(lambda *_: output)
    try:
        yield
    finally:
        hook.remove()


def _fitted(coarse: Tensor, size: tuple[int, int]) -> np.ndarray:
    """The map at the crop's size, its highest value 1."""
    fine = nn.functional.interpolate(coarse[None, None].float().cpu(), size=size, mode="bicubic", align_corners=False)
    fine = fine[0, 0].clamp(min=0).numpy()
    return fine / fine.max() if fine.max() > 0 else fine


def _overlay(face: np.ndarray, saliency: np.ndarray) -> np.ndarray:
    colour = 255 * matplotlib.colormaps["inferno"](saliency)[..., :3]
    opacity = OPACITY * saliency[..., None]
    return (face * (1 - opacity) + colour * opacity).round().astype(np.uint8)
