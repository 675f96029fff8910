"""Saliency: the parts of a face that a prediction rests on, as the models say it, laid over the pictures."""

from dataclasses import dataclass

import matplotlib
import numpy as np
import pandas as pd
from torch import Tensor, nn

from fer_cli.dataset.tensors import Crops
from fer_cli.models.inference import Classifier
from fer_cli.progress import Progress, silent

#: How much of an overlay is the colour where the saliency is highest.
OPACITY = 0.6


@dataclass(frozen=True)
class Explanation:
    """The saliency of one face.

    ``saliency``, S×S, goes from 0 to 1, which is the most of this face (all 0: nothing speaks for the prediction);
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
    """``count`` rows worth explaining: of each class the surest mistake, the surest right prediction, and so on."""
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
    explanations, model = [], classifier.model

    def pixels(crop: Tensor) -> Tensor:
        return classifier.preprocessing(crop[None]).to(classifier.device)

    for row in predictions.to_dict(orient="records"):
        crop = crops[row["file_name"]]
        neutral = pixels(crops[row["neutral_file_name"]]) if classifier.paired else None
        coarse = model.saliency(pixels(crop), classifier.classes.index(row["predicted"]), neutral)
        saliency = _fitted(coarse, crop.shape[-2:])
        overlay = _overlay(crop.permute(1, 2, 0).numpy(), saliency)
        facts = (row[name] for name in ("file_name", "label", "predicted", "confidence"))
        explanations.append(Explanation(*facts, model.saliency_method, saliency, overlay))
        progress("explaining", len(explanations), len(predictions))
    return explanations


def _fitted(coarse: Tensor, size: tuple[int, int]) -> np.ndarray:
    """The map at the crop's size, its highest value 1."""
    fine = nn.functional.interpolate(coarse[None, None].float().cpu(), size=size, mode="bicubic", align_corners=False)
    fine = fine[0, 0].clamp(min=0).numpy()
    return fine / fine.max() if fine.max() > 0 else fine


def _overlay(face: np.ndarray, saliency: np.ndarray) -> np.ndarray:
    colour = 255 * matplotlib.colormaps["inferno"](saliency)[..., :3]
    opacity = OPACITY * saliency[..., None]
    return (face * (1 - opacity) + colour * opacity).round().astype(np.uint8)
