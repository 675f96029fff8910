"""The recipe of the baseline: HOG and a linear support vector machine, whose C the validation fold chooses."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from annotated_doc import Doc
from annotated_types import Ge, Le

from fer_cli.errors import DatasetError, TrainingError, UsageError
from fer_cli.models import Features
from fer_cli.options import Panel
from fer_cli.progress import Progress
from fer_cli.training.recipes.base import BuildContext, Solution
from fer_cli.training.recipes.difference import PairRecipe

if TYPE_CHECKING:
    from torch import Tensor

    from fer_cli.dataset.tensors import BatchedDataset
    from fer_cli.models.baseline import BaselineModel

#: How C is chosen, by the name of ``--select``, as a run's record has it.
RULES = {
    "accuracy": "C by highest accuracy on the validation fold",
    "uar": "C by highest average recall on the validation fold",
}


@dataclass(frozen=True, kw_only=True)
class BaselineRecipe(PairRecipe):
    """Histograms of oriented gradients (HOG) and a linear SVM: what a network must beat. It trains in seconds."""

    name: ClassVar[str] = "baseline"
    examples: ClassVar[tuple[str, ...]] = (
        "fer train baseline --cv",
        "fer train baseline --features difference",
        "fer train baseline --ablation --cv",
    )

    features: Annotated[Features, Doc("Input of the SVM."), Panel("Model")] = "both"
    ablation: Annotated[bool, Doc("Train and compare all three, on the same pairs."), Panel("Model")] = False
    pairs_only: Annotated[bool, Doc("Skip faces without a neutral picture."), Panel("Data")] = False
    orientations: Annotated[int, Ge(1), Le(256), Doc("Orientations of a cell."), Panel("Model")] = 8
    pixels_per_cell: Annotated[int, Ge(1), Le(256), Doc("Side of a cell."), Panel("Model")] = 8
    cells_per_block: Annotated[int, Ge(1), Le(256), Doc("Side of a block, in cells."), Panel("Model")] = 2
    neutrals: Annotated[int, Ge(1), Doc("Neutral pictures of a person averaged."), Panel("Model")] = 1
    C: Annotated[tuple[float, ...], Doc("C to try, or to take if it is one; repeatable."), Panel("Solver")] = (
        0.001,
        0.01,
        0.1,
        1.0,
    )
    select: Annotated[Literal["accuracy", "uar"], Doc("Best C by; of equals the smallest."), Panel("Solver")] = "uar"
    class_weights: Annotated[bool, Doc("Weight the loss by inverse class frequency."), Panel("Solver")] = False
    size: Annotated[int, Ge(32), Doc("Input size."), Panel("Data")] = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        wrong = [each for each in self.C if not 0 < each < float("inf")]
        if wrong or not self.C:
            raise UsageError(f"--C {wrong[0] if wrong else '(none)'}: a number of more than 0 is needed.")

    @property
    def normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """None: HOG takes colours from 0 to 1."""
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)

    def build(self, context: BuildContext) -> "BaselineModel":
        """The model for the classes, which has not seen anything."""
        from fer_cli.models.baseline import BaselineConfig, BaselineModel

        return BaselineModel(
            BaselineConfig(
                image_size=context.size,
                features=self.features,
                orientations=self.orientations,
                pixels_per_cell=self.pixels_per_cell,
                cells_per_block=self.cells_per_block,
                neutrals=self.neutrals,
                **context.labels,
            )
        )

    def solve(
        self, model: "BaselineModel", train: "BatchedDataset", val: "BatchedDataset", progress: Progress
    ) -> Solution:
        """Fit a :class:`sklearn.svm.LinearSVC` for each C on the training rows; keep the best on the validation rows.

        The temperature of its probabilities is that at which the validation rows' labels are likeliest. Raises
        :class:`~fer_cli.errors.TrainingError` for a C that gives no finite numbers, and
        :class:`~fer_cli.errors.DatasetError` where the training rows show one class.
        """
        import numpy as np
        from sklearn.svm import LinearSVC

        weights = "balanced" if self.class_weights else None
        inputs, labels = _whole(train)
        if len(labels.unique()) < 2:
            raise DatasetError("The training folds show one class only: there is nothing to tell apart.")
        seen = model.compared(inputs["embeddings"], inputs.get("neutral_embeddings")).numpy()
        grid, tried, best = sorted(set(self.C)), list[dict[str, float]](), None
        for cost in grid:
            progress("fitting", len(tried), len(grid))
            # The primal problem needs no random numbers, and little more time the larger C is.
            machine = LinearSVC(C=cost, dual=False, class_weight=weights, max_iter=10_000).fit(seen, labels.numpy())
            if not np.isfinite(machine.coef_).all():
                raise TrainingError(f"--C {cost:g}: the SVM's coefficients are not finite.", hint="Type a smaller one.")
            model.set_machine(machine.coef_, machine.intercept_)
            temperature, scores = _validate(model, *_whole(val))
            tried.append({"C": cost, **scores, "iterations": int(machine.n_iter_)})
            if best is None or scores[f"val_{self.select}"] > best[0][f"val_{self.select}"]:
                best = tried[-1], temperature, machine
        progress("fitting", len(grid), len(grid))
        assert best is not None  # __post_init__ refuses an empty grid
        chosen, model.config.softmax_temperature, machine = best
        model.set_machine(machine.coef_, machine.intercept_)
        rule = RULES[self.select] if len(grid) > 1 else f"C {chosen['C']:g}, as given"
        return Solution(rule, chosen, tuple(tried))


def _whole(faces: "BatchedDataset") -> "tuple[dict[str, Tensor], Tensor]":
    """All inputs of a dataset of embeddings by name, and its labels."""
    inputs = dict(faces.__getitems__(list(range(len(faces)))))
    return inputs, inputs.pop("labels")


def _validate(model: "BaselineModel", inputs: "dict[str, Tensor]", labels: "Tensor") -> tuple[float, dict[str, float]]:
    """The temperature, and the loss at it, the accuracy and the average recall over the classes that are shown."""
    import numpy as np
    import torch
    from sklearn.metrics import accuracy_score, recall_score

    from fer_cli.models.inference import fit_temperature, log_losses, tempered

    with torch.inference_mode():
        probabilities = model(**inputs).logits.double().softmax(dim=-1).numpy()
    truth, predicted = labels.numpy(), probabilities.argmax(axis=1)
    temperature = fit_temperature(probabilities, truth)
    recall = recall_score(truth, predicted, labels=np.unique(truth), average="macro", zero_division=0)
    return temperature, {
        "val_loss": float(log_losses(tempered(probabilities, temperature), truth).mean()),
        "val_accuracy": float(accuracy_score(truth, predicted)),
        "val_uar": float(recall),
    }
