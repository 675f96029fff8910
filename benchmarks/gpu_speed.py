"""Speed on a GPU: training next to transformers' Trainer, stage 1, two processes, embeddings and prediction."""

import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from accelerate.utils import patch_environment
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

from benchmarks.budget import Row
from benchmarks.gpu_work import Job, exact, synchronise
from fer_cli import Predictor
from fer_cli.dataset.tensors import Crops
from fer_cli.distributed import barrier, cores, is_main_process, own_device, shutdown, world_size
from fer_cli.embeddings.embed import encode_crops, inference_dtype
from fer_cli.faces.cascade import CASCADE, choose_detector
from fer_cli.models import TINY_VIT, VIT_B16, DifferenceConfig, DifferenceModel
from fer_cli.models.device import choose_precision, has_tf32
from fer_cli.models.inference import Classifier
from fer_cli.models.preprocessing import Preprocessing
from fer_cli.models.vit_se import vit_config
from fer_cli.pretrained import require_packaged
from fer_cli.training.fit import fit
from fer_cli.training.recipes.base import GradientRecipe
from fer_cli.training.recipes.disentangled import DisentangledRecipe


class Measured(Exception):  # noqa: N818 (no error: a training has gone on for long enough)
    """Ends a training whose steps have been measured."""


class Rate:
    """Pictures a second of training steps: the median over ``windows`` of ``window`` steps, after ``warm_up`` steps.

    Where steps are slow, both have fewer, so that all is done in about ``seconds``.
    """

    @classmethod
    def of(cls, job: Job, measurements: int) -> "Rate":
        """A measurement, so many of which have the time that is left to ``job``."""
        if world_size() == 1:
            return cls(job.batch, job.device, **job.steps, seconds=job.left / measurements)
        # All processes must end with the same step, so that no clock decides; and an epoch has fewer.
        fewer = {**job.steps, "windows": max(1, job.steps["windows"] * 3 // 8)}
        return cls(job.batch * world_size(), own_device(job.device), **fewer)

    def __init__(
        self,
        pictures: int,
        device: torch.device,
        *,
        warm_up: int,
        window: int,
        windows: int,
        seconds: float = math.inf,
        clock: Callable[[], float] = time.perf_counter,
    ):
        self.rates: list[float] = []
        self.first: float | None = None
        self._pictures, self._device, self._clock = pictures, device, clock
        self._warm_up, self._window, self._windows = warm_up, window, windows
        self._begun = clock()
        self._until, self._most = self._begun + 0.9 * seconds, seconds / 8
        self._phase = self._begun
        self._steps, self._warm = 0, False

    def step(self) -> None:
        """Note that a step has ended; raises :class:`Measured` after the last that is wanted."""
        self._steps += 1
        if self.first is None:
            synchronise(self._device)
            # What comes before is loading and, perhaps, compiling, and says nothing of how slow steps are.
            self._phase = self._clock()
            self.first = self._phase - self._begun
        wanted, least = (self._window, 1) if self._warm else (self._warm_up, min(2, self._warm_up))
        slow = self._steps >= least and self._clock() - self._phase > self._most
        if self._steps < wanted and not slow:
            return
        synchronise(self._device)
        now = self._clock()
        if self._warm:
            self.rates.append(self._pictures * self._steps / (now - self._phase))
        self._warm, self._steps, self._phase = True, 0, now
        if len(self.rates) == self._windows or (self.rates and now > self._until):
            raise Measured

    def row(self, part: str, what: str, *notes: str) -> Row:
        """The row of what was measured."""
        spread = f"{min(self.rates):.0f} to {max(self.rates):.0f}, first step after {self.first:.1f} s"
        return Row(part, what, statistics.median(self.rates), "images/s", "; ".join((*filter(None, notes), spread)))


def peak_memory(device: torch.device) -> str:
    """The most memory that tensors have taken, in words, where the device tells."""
    if device.type in ("cuda", "xpu"):
        return f"peak memory {torch.accelerator.max_memory_allocated(device) / 2**30:.1f} GiB"
    return ""


def ours(job: Job, recipe: GradientRecipe, rate: Rate, name: str, *, tf32: bool = True) -> Rate:
    """The steps of ``fer train``, measured."""

    def watch(stage: str, done: int, total: int | None, /, **facts: float | str) -> None:
        if stage == "training":
            if done == 1 and not tf32:
                # fer uses TF32 wherever it is; the first step, which does not count, still does.
                exact()
            rate.step()

    with suppress(Measured):
        fit(recipe, job.repeated, job.folder(name), device=str(job.device), progress=watch)
    return rate


class Files(Dataset):
    """Pictures opened one by one: dicts of ``pixel_values``, augmented, and ``labels``."""

    def __init__(self, paths: list[Path], labels: list[int], size: int):
        self._paths, self._labels = paths, labels
        self._transform = v2.Compose(
            [
                *(v2.RandomResizedCrop(size, antialias=True), v2.RandomHorizontalFlip(), v2.ToImage()),
                *(v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)),
            ]
        )

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        with Image.open(self._paths[index]) as picture:
            return {"pixel_values": self._transform(picture.convert("RGB")), "labels": self._labels[index]}


def collate(samples: list[dict[str, Any]]) -> dict[str, Tensor]:
    """A batch of the samples."""
    return {
        "pixel_values": torch.stack([sample["pixel_values"] for sample in samples]),
        "labels": torch.tensor([sample["labels"] for sample in samples]),
    }


def theirs(job: Job, rate: Rate, *, precision: str, workers: int, compiled: bool = False) -> Rate:
    """The steps of transformers' Trainer on the files that ``fer`` trains on, measured."""
    rows = job.repeated.split(0, paired=False)["train"]
    classes = list(job.repeated.protocol.classes)
    config = vit_config(TINY_VIT if job.small else VIT_B16, job.size)
    config.num_labels = len(classes)

    class Watch(transformers.TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            rate.step()

    with patch_environment(**({} if job.device.type == "cpu" else {"ACCELERATE_TORCH_DEVICE": str(job.device)})):
        arguments = transformers.TrainingArguments(
            output_dir=str(job.folder("peer")),
            use_cpu=job.device.type == "cpu",
            per_device_train_batch_size=job.batch,
            num_train_epochs=1,
            bf16=precision == "bfloat16",
            fp16=precision == "float16",
            tf32=(precision != "float32") if has_tf32(job.device) else None,
            torch_compile=compiled,
            dataloader_num_workers=workers,
            remove_unused_columns=False,
            logging_steps=10,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        arguments.device  # noqa: B018 (decides, and is kept)
    if job.device.type != "cpu":
        # Else it takes the first GPU, or spreads a batch over all of them.
        arguments.__dict__["_setup_devices"], arguments._n_gpu = job.device, 1
    files = Files(
        [job.repeated.path / name for name in rows["file_name"]], list(map(classes.index, rows["label"])), job.size
    )
    model = transformers.ViTForImageClassification(config)
    trainer = transformers.Trainer(model, arguments, collate, files, callbacks=[Watch()])
    with suppress(Measured):
        trainer.train()
    return rate


def training(job: Job, precision: str, *, compiled: bool = False) -> Iterator[Row]:
    """ViT-SE next to transformers' example."""
    part = f"training, {precision}" + (", compiled" if compiled else "")
    recipe = job.vit_se(precision="float32" if precision == "tf32" else precision, compile=compiled)
    several = min(8, max(1, cores() - 1))
    workers = (several,) if compiled else (0, several)
    own = ours(job, recipe, Rate.of(job, 1 + len(workers)), "vit-se", tf32=precision != "float32")
    yield own.row(part, "fer train vit-se", peak_memory(job.device))
    for place, count in enumerate(workers):
        other = theirs(job, Rate.of(job, len(workers) - place), precision=precision, workers=count, compiled=compiled)
        ratio = statistics.median(own.rates) / statistics.median(other.rates)
        yield other.row(part, f"transformers' example, {count} workers", f"fer has {ratio:.2f} times its rate")


def stage_1(job: Job) -> Iterator[Row]:
    """Stage 1 of disentangled, with an identity encoder and with none."""
    part = f"stage 1, {choose_precision('auto', job.device)}"
    settings = {"stage": 1, "encoder": "scratch", "backbone": job.network, "size": job.size, "logger": ("none",)}
    recipe = partial(DisentangledRecipe, **settings, batch_size=job.batch, epochs=1)
    alone = ours(job, recipe(identity="none"), Rate.of(job, 2), "stage1-alone")
    yield alone.row(part, f"{job.network}, no identity encoder", peak_memory(job.device))
    both = ours(job, recipe(identity=str(job.out / "identity")), Rate.of(job, 1), "stage1")
    ratio = statistics.median(both.rates) / statistics.median(alone.rates)
    yield both.row(part, "with a frozen identity encoder", f"{ratio:.2f} of the rate without; its embeddings included")


def two_processes(job: Job) -> Iterator[Row]:
    """ViT-SE in two processes on two GPUs, started by torchrun, next to one."""
    if world_size() > 1:
        together = ours(job, job.vit_se(), Rate.of(job, 1), "two")
        barrier()
        if is_main_process():
            yield together.row("two processes", "fer train vit-se by torchrun", "images of both")
        shutdown()
        return
    alone = ours(job, job.vit_se(), Rate.of(job, 2), "one")
    yield alone.row("two processes", "one process")
    launch = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d")
    subprocess.run([*launch, "--rdzv-endpoint", "localhost:0", *sys.argv], check=True)


def timed(job: Job, count: int, work: Callable[[], Any], passes: int = 3) -> tuple[float, Any]:
    """Pictures a second of a ``work`` on ``count`` pictures: the median of some passes after the first; its result."""
    rates = []
    for number in range(1 + passes):
        synchronise(job.device)
        begun = time.perf_counter()
        result = work()
        synchronise(job.device)
        rates += [count / (time.perf_counter() - begun)] if number else []
        if rates and time.perf_counter() - begun > job.left:
            break
    return statistics.median(rates), result


def embeddings(job: Job) -> Iterator[Row]:
    """Embeddings of crops by three encoders, decoded before and decoded with them."""
    names = job.repeated.metadata["file_name"].tolist()[: 32 if job.small else 2048]
    ready = Crops.of(job.repeated, job.size)
    packaged = Classifier.load(require_packaged(), str(job.device))
    dtype = str(inference_dtype(job.device) or torch.float32).removeprefix("torch.")
    plain = Preprocessing(job.size)
    convolutions = DifferenceModel(DifferenceConfig(features="target", backbone=job.network)).encoder
    transformer = job.model().to(job.device).eval()
    for what, encoder, crops, preprocessing in (
        (job.network, convolutions, ready, plain),
        (f"{job.network}, decoding included", convolutions, Crops(job.repeated.path, kept_bytes=0), plain),
        ("vit-se", transformer.features, ready, plain),
        ("faces", packaged.model.base_model, ready, packaged.preprocessing),
    ):
        work = partial(encode_crops, encoder, names, crops, preprocessing, job.device)
        yield Row(f"embeddings, {dtype}", what, timed(job, len(names), work)[0], "images/s", f"{len(names)} crops")


def prediction(job: Job) -> Iterator[Row]:
    """`Predictor` with the packaged model and with a ViT-SE, on crops and on whole pictures."""
    folder = job.folder("large")
    job.model().save_pretrained(folder)
    Preprocessing(job.size, *job.vit_se().normalisation, face_crop=job.dataset.crop).save(folder)
    rows = job.dataset.metadata["file_name"]
    crops = [job.dataset.path / name for name in rows][: 8 if job.small else 256]
    whole = sorted((job.out / "corpus").rglob("cohn-kanade-images/**/*.png"))[: 4 if job.small else 128]
    cascade = choose_detector("auto", None) == CASCADE
    for detector, paths in (("none", crops), ("auto", whole)):
        for name, model in (("faces", None), ("vit-se", folder)):
            predictor = Predictor(model, device=str(job.device), detector=detector)
            rate, found = timed(job, len(paths), partial(predictor, paths))
            note = f"{len(paths)} files; {sum(map(bool, found))} with a face"
            by = "crops" if detector == "none" else f"whole pictures, {'the cascade' if cascade else 'YuNet'}"
            yield Row("prediction", f"{name}, {by}", rate, "images/s", note)
