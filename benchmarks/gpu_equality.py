"""Equality of a GPU's numbers with the processor's: probabilities, embeddings, gradients, and whole trainings."""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from benchmarks.budget import Row
from benchmarks.gpu_work import Job, exact
from fer_cli.dataset.tensors import Crops
from fer_cli.embeddings.embed import encode_crops, inference_dtype
from fer_cli.errors import FerError
from fer_cli.models import TINY_VIT
from fer_cli.models.device import choose_precision
from fer_cli.models.inference import Classifier
from fer_cli.models.preprocessing import Preprocessing
from fer_cli.pretrained import require_packaged
from fer_cli.training.fit import fit
from fer_cli.training.optimizer import TrainingLoss

#: The largest differences from the processor's numbers that pass. In float32: of a probability, of a loss, of gradients
#: and of embeddings, the last two relative to their norm; the same in what the device computes faster.
EXACT, FAST = 1e-3, 0.1
#: Of the validation loss after two epochs, which starts near 2.
TRAINED = 0.1


def difference(part: str, what: str, found: Tensor, expected: Tensor, most: float, *, relative: bool = False) -> Row:
    """The row of a difference from the processor's numbers: the largest, or the norm of all by that of the numbers."""
    found, expected = found.cpu().double().flatten(), expected.cpu().double().flatten()
    apart = found - expected
    value = (apart.norm() / expected.norm() if relative else apart.abs().max()).item()
    return Row(part, what, value, "relative" if relative else "absolute", f"tolerance {most:g}", equal=value <= most)


def step_of(model: nn.Module, job: Job, device: torch.device, pixels: Tensor, labels: Tensor, precision: str) -> Tensor:
    """The loss and the gradients of a training step, loss first, as one vector; in float16 with a scaled loss."""
    model = copy.deepcopy(model).to(device=device, memory_format=torch.channels_last).train()
    scaler = torch.amp.GradScaler(device.type, init_scale=2.0**10, enabled=precision == "float16")
    half = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(precision)
    with torch.autocast(device.type, dtype=half, enabled=half is not None):
        loss = TrainingLoss(job.vit_se())(model(pixels.to(device)).logits, labels.to(device))
    scaler.scale(loss).backward()
    gradients = [parameter.grad.flatten() / scaler.get_scale() for parameter in model.parameters()]
    return torch.cat([loss.detach().flatten().float(), *gradients]).cpu()


def equality(job: Job) -> Iterator[Row]:
    """The device's numbers next to the processor's."""
    part, cpu = "equal to the processor", torch.device("cpu")
    if job.device == cpu:
        # So that nobody takes a difference of 0 for a finding.
        part = "the processor with itself"
    names = job.dataset.metadata["file_name"].tolist()[: 8 if job.small else 64]
    crops = Crops(job.dataset.path).batch(names)
    packaged = [Classifier.load(require_packaged(), str(device)) for device in (cpu, job.device)]

    def probabilities(classifiers: list[Classifier]) -> Iterator[Tensor]:
        return (torch.from_numpy(each.probabilities(crops)) for each in classifiers[::-1])

    # As fer predicts, TF32 included where convolutions have it.
    yield difference(part, "probabilities of faces, as predicted", *probabilities(packaged), 10 * EXACT)
    # Of trained weights: those of random ones, not normalised, are too small for float16.
    encoded = (
        encode_crops(each.model.base_model, names, Crops(job.dataset.path), each.preprocessing, each.device)
        for each in packaged[::-1]
    )
    dtype = inference_dtype(job.device) or torch.float32
    yield difference(part, f"embeddings of faces, {dtype}".replace("torch.", ""), *encoded, 10 * EXACT, relative=True)
    exact()
    yield difference(part, "probabilities of faces, float32", *probabilities(packaged), EXACT)
    model, preprocessing = job.model(), Preprocessing(job.size)
    own = [Classifier(copy.deepcopy(model), preprocessing, device) for device in (cpu, job.device)]
    yield difference(part, "probabilities of vit-se, float32", *probabilities(own), EXACT)
    pixels = preprocessing(crops[: job.batch // 4])
    labels = torch.arange(len(pixels)) % model.config.num_labels
    expected = step_of(model, job, cpu, pixels, labels, "float32")
    for precision, most in (("float32", EXACT), ("bfloat16", FAST), ("float16", FAST)):
        try:
            choose_precision(precision, job.device)
        except FerError as error:
            yield Row(part, f"a training step, {precision}", note=f"not run: {error.message}")
            continue
        found = step_of(model, job, job.device, pixels, labels, precision)
        yield difference(part, f"a step's loss, {precision}", found[:1], expected[:1], most)
        yield difference(part, f"a step's gradients, {precision}", found[1:], expected[1:], most, relative=True)


def trainings(job: Job) -> Iterator[Row]:
    """Two epochs of a tiny ViT-SE, validated, in each precision; the first is the processor's."""
    part = "validation loss after two epochs"
    settings = {"backbone": TINY_VIT, "size": 32, "batch_size": 16, "epochs": 2, "augment": "none", "lr": 1e-3}
    expected = None
    for device, precision, extra in (
        ("cpu", "float32", {}),
        (str(job.device), "float32", {}),
        (str(job.device), "bfloat16", {}),
        (str(job.device), "float16", {}),
        (str(job.device), "auto", {"accumulate": 2, "batch_size": 8, "ema": 0.5}),
    ):
        what = f"{device}, {precision}" + (", two batches a step, averaged weights" if extra else "")
        try:
            run = fit(
                job.vit_se(**{**settings, "precision": precision, **extra}),
                job.dataset,
                job.folder("tiny"),
                device=device,
            )
        except FerError as error:
            yield Row(part, what, note=f"not run: {error.message}")
            continue
        loss = run.card["best"]["val_loss"]
        expected = expected or loss
        # An average of weights lags behind them: it must be finite, no more.
        apart = None if extra else abs(loss - expected) <= TRAINED
        note = "" if extra else f"tolerance {TRAINED:g}; {loss - expected:+.4f}"
        yield Row(part, what, loss, "nats", note, equal=apart)
