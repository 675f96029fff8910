"""Strict loading of weights: every tensor there, of the right shape and finite, and no code of a model's folder run.

transformers gives tensors that are missing random values and goes on; here each door (runs, encoders, identity
networks, published models) comes through the same checks, which say what is missing and where.
"""

import hashlib
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any, TypedDict

import msgspec
import torch
from huggingface_hub.utils import logging as hub
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    CONFIG_MAPPING,
    PretrainedConfig,
)
from transformers.utils import cached_file, logging

from fer_cli.documents import read_document, write_metadata
from fer_cli.errors import ModelError, RunError
from fer_cli.files import LFS_POINTER, is_lfs_pointer, open_regular
from fer_cli.models import TestTime
from fer_cli.models.base import WEIGHTS, TrainedModel, own_model
from fer_cli.models.pickles import PickleRefusedError, require_plain_state_dict

CONFIG = "config.json"
#: The largest file of weights that is read, in bytes; a ViT-Huge takes 2.5 GB.
MAX_BYTES = 16 * 1024**3
#: How many numbers a configuration may ask for beyond twice those that the weights hold: for more no memory is taken.
SPARE = 250_000_000
#: What a configuration may say that makes transformers fetch, run or read something else, or compute otherwise.
_NOT_TAKEN_OVER = frozenset(
    (
        *("auto_map", "attn_implementation", "experts_implementation", "quantization_config", "fusion_config"),
        *("transformers_weights", "kernel_config", "custom_pipelines", "dtype", "torch_dtype"),
    )
)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors by name in a file of weights: ``.safetensors``, or a state dict that torch saved.

    No pickle is run. Raises :class:`~fer_cli.errors.ModelError` if the file cannot be read, is no such file, or holds
    numbers that are not finite.
    """
    size = require_readable(path)
    try:
        if path.suffix == ".safetensors":
            tensors = load_file(path)
        else:
            require_plain_state_dict(path)
            tensors = torch.load(path, "cpu", weights_only=True)
        tensors = {name: value for name, value in tensors.items() if isinstance(value, Tensor)}
    except Exception as error:  # whatever a file that is no weights makes a reader raise
        why = str(error) if isinstance(error, PickleRefusedError) else type(error).__name__
        raise ModelError(f"{path} cannot be read as weights ({why}).") from error
    # A view of few numbers can be of any size.
    if any(tensor.is_sparse or tensor.is_quantized or tensor.is_meta for tensor in tensors.values()) or any(
        tensor.numel() * tensor.element_size() > size for tensor in tensors.values()
    ):
        raise ModelError(f"{path} cannot be read as weights (it describes more numbers than it holds).")
    require_finite(tensors, str(path))
    return tensors


def require_readable(path: Path) -> int:
    """The size in bytes of the file of weights at ``path``.

    Raises :class:`~fer_cli.errors.ModelError` if it may not be read, is no regular file, too large, or the pointer that
    Git LFS leaves in the place of a file.
    """
    try:
        with open_regular(path) as file:
            size = file.seek(0, 2)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}.") from error
    if is_lfs_pointer(path):
        raise ModelError(f"{path} is {LFS_POINTER}.")
    if size > MAX_BYTES:
        raise ModelError(f"{path} is {size / 1e9:.1f} GB; more than {MAX_BYTES / 1e9:.1f} GB is not read.")
    return size


def require_finite(tensors: Mapping[str, Tensor], source: str) -> None:
    """Raise :class:`~fer_cli.errors.ModelError`, naming the tensor, where one of ``tensors`` is not finite."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.element_size() == 1:
            tensor = tensor.float()
        wrong = tensor.numel() - int(torch.isfinite(tensor).sum())
        if wrong:
            raise ModelError(
                f"{source} cannot be used: {wrong} of the {tensor.numel()} numbers of {name} are NaN or infinite.",
                hint="Train or fetch the model again.",
            )


def require_fit(network: nn.Module, tensors: Mapping[str, Tensor], source: str, *, hint: str = "") -> None:
    """Raise :class:`~fer_cli.errors.ModelError` unless ``tensors`` are those of ``network``, by names and shapes.

    How many batches a BatchNorm has seen (``num_batches_tracked``) may be missing: nothing is computed from it.
    """
    own = network.state_dict()
    missing = [name for name in own if name not in tensors and not name.endswith("num_batches_tracked")]
    mismatched = [(name, tensors[name].shape, own[name].shape) for name in own if name in tensors]
    mismatched = [each for each in mismatched if each[1] != each[2]]
    _refuse_differences(source, missing, [name for name in tensors if name not in own], mismatched, hint)


def load_into(network: nn.Module, tensors: Mapping[str, Tensor], source: str, *, hint: str = "") -> None:
    """Give ``network`` the ``tensors``, all of them or none; raises as :func:`require_fit` does."""
    require_fit(network, tensors, source, hint=hint)
    network.load_state_dict({**network.state_dict(), **tensors})


class _Around(TypedDict, total=False):
    """The fields of any stored configuration of ours that say what is done around the network."""

    tta: TestTime | None
    # transformers keeps the name "temperature" for the generation of text.
    softmax_temperature: Annotated[float, msgspec.Meta(ge=0.01, le=100)]


def load_own(folder: Path, wanted: type[TrainedModel] | None = None) -> TrainedModel:
    """The model that training saved in ``folder``: of the kind ``wanted``, or any that classifies expressions.

    Of the configuration no more is read than what its class declares in ``stored``. Raises
    :class:`~fer_cli.errors.ModelError` if there is no such model, or its weights do not fit or are not finite.
    """
    hush()
    if not (folder / CONFIG).is_file():
        raise ModelError(f"There is no model in {folder}: it has no {CONFIG}.", hint="fer train makes one.")
    stored = read_document(folder / CONFIG, dict[str, Any], ModelError)
    name = stored.get("model_type")
    kind = own_model(name)
    if kind is None or (kind.identifies if wanted is None else kind is not wanted):
        raise ModelError(f"{folder} holds a {str(name)[:40]} model, which is not one of fer's.")
    config_class: Any = kind.config_class
    fields = config_class.stored
    read_document(folder / CONFIG, fields, ModelError)
    # What the type does not declare stays behind.
    declared = msgspec.convert(stored, fields)
    labels = _labels(declared.pop("id2label"), folder / CONFIG)
    # What is done around the network is no part of any one model's configuration.
    read_document(folder / CONFIG, _Around, ModelError)
    around = {name: value for name, value in msgspec.convert(stored, _Around).items() if value not in (None, "none")}
    tensors = read_weights(folder / WEIGHTS)
    try:
        config = config_class(**declared, **labels, **around)
        with torch.device("meta"):
            needed = sum(tensor.numel() for tensor in kind(config).state_dict().values())
        stored_numbers = sum(tensor.numel() for tensor in tensors.values())
        if needed > 2 * stored_numbers + SPARE:
            raise ModelError(
                f"{folder / CONFIG} describes a model of {needed} numbers, and {WEIGHTS} holds {stored_numbers}."
            )
        model, found = _from_tensors(kind, config, tensors)
    except ModelError:
        raise
    except Exception as error:  # whatever a configuration that fits no model makes transformers raise
        raise ModelError(f"The model in {folder} cannot be loaded: {first_line(error)}") from error
    _refuse_loading(str(folder / WEIGHTS), found)
    return model


def load_checkpoint(model: TrainedModel, folder: Path) -> None:
    """Give ``model`` the weights in the checkpoint ``folder``: all that it saves, and nothing else.

    Raises :class:`~fer_cli.errors.RunError` if one is missing, unexpected, of another shape or not finite.
    """
    unsaved = set(model._keys_to_ignore_on_save or ())
    try:
        tensors = read_weights(folder / WEIGHTS)
        # What is not saved is initialised there, which must not move the training's random numbers.
        with torch.random.fork_rng(devices=[]):
            saved, found = _from_tensors(type(model), deepcopy(model.config), tensors)
        missing = set(found["missing_keys"])
        found["unexpected_keys"] = {*found["unexpected_keys"], *(unsaved - missing)}
        found["missing_keys"] = missing - unsaved
        _refuse_loading(str(folder / WEIGHTS), found)
    except ModelError as error:
        raise RunError(
            f"The checkpoint {folder} cannot be loaded: {error.message}",
            hint="Remove the run's folder, and type the line again.",
        ) from error
    weights = {name: tensor for name, tensor in saved.state_dict().items() if name not in unsaved}
    model.load_state_dict(weights, strict=False)


def _from_tensors(
    kind: type[TrainedModel], config: PretrainedConfig, tensors: dict[str, Tensor]
) -> tuple[TrainedModel, dict[str, Any]]:
    """A model with the ``tensors``, and which of them were missing, unexpected or of another shape.

    By way of ``from_pretrained``, which alone undoes the renaming of keys by ``save_pretrained``.
    """
    return kind.from_pretrained(
        None,
        config=config,
        state_dict=tensors,
        dtype=torch.float32,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )


def foreign_config(source: str, **pinned: str) -> PretrainedConfig:
    """The configuration of a model that others published: in a folder, or by its name on the Hub.

    Nothing that makes transformers run, fetch or read anything else is taken over from it. Raises
    :class:`~fer_cli.errors.ModelError` for a folder whose files cannot be read; of the Hub whatever transformers does.
    """
    hush()
    if Path(source).is_dir():
        for path in sorted(Path(source).glob("*.json")):
            read_document(path, dict[str, Any] | list[Any], ModelError)
        if not (Path(source) / CONFIG).is_file():
            raise ModelError(
                f"{source} is no model's folder: it has no {CONFIG}.",
                hint=f"It needs what save_pretrained writes: {CONFIG}, {WEIGHTS}, preprocessor_config.json.",
            )
        stored = read_document(Path(source) / CONFIG, dict[str, Any], ModelError)
    else:
        stored, _ = PretrainedConfig.get_config_dict(source, **pinned)
    stored = _without_code(stored)
    name = stored.get("model_type")
    own_model(name)
    if not isinstance(name, str) or name not in CONFIG_MAPPING:
        raise ModelError(
            f"{source} is a model of the type {str(name)[:40]!r}, which transformers does not know: code that comes "
            "with a model is not run."
        )
    return CONFIG_MAPPING[name].from_dict(stored)


def load_foreign(
    kind: Any, source: str, config: PretrainedConfig, *, part: bool = False, hint: str = "", **settings: Any
) -> Any:
    """The model ``kind`` (a model or an Auto class) with the weights of ``source``, as others published it.

    ``part`` says that it is a part of what was published: tensors of other parts are no fault. Raises
    :class:`~fer_cli.errors.ModelError` if weights are missing, unknown, misshapen or not finite, or else whatever
    transformers does.
    """
    _require_plain_weights(source, settings.get("revision"))
    model, found = kind.from_pretrained(
        source,
        config=config,
        trust_remote_code=False,
        dtype=torch.float32,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
        **settings,
    )
    if part:
        own = {name for name, _ in model.named_children()}
        found["unexpected_keys"] = [name for name in found["unexpected_keys"] if name.partition(".")[0] in own]
    _refuse_loading(source, found, hint)
    require_finite(model.state_dict(), source)
    return model


def first_line(error: Exception) -> str:
    """The first line of what an exception says, or its kind where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _require_plain_weights(source: str, revision: str | None) -> None:
    """Look at the file that transformers would load, before it does."""
    if Path(source).is_dir():
        for path in Path(source).iterdir():
            if path.suffix in (".safetensors", ".bin"):
                require_readable(path)
    where = {"revision": revision} if revision else {}
    quiet = {"_raise_exceptions_for_missing_entries": False, "_raise_exceptions_for_connection_errors": False}
    if any(cached_file(source, name, **quiet, **where) for name in (WEIGHTS, f"{WEIGHTS}.index.json")):
        return
    if cached_file(source, "pytorch_model.bin.index.json", **quiet, **where):
        raise ModelError(f"The weights of {source} are pickles in several files, which are not read.")
    pickled = cached_file(source, "pytorch_model.bin", **quiet, **where)
    if pickled:
        try:
            require_plain_state_dict(Path(pickled))
        except Exception as error:  # whatever a file made to harm makes a reader raise
            raise ModelError(f"{pickled} cannot be read as weights ({first_line(error)}).") from error


def _labels(names: Mapping[str, str], path: Path) -> dict[str, Any]:
    """The classes, in order, as a configuration takes them."""
    id2label = {place: names.get(str(place), "") for place in range(len(names))}
    label2id = {name: place for place, name in id2label.items()}
    if "" in label2id or not 1 < len(names) == len(label2id):
        raise ModelError(f"{path}: id2label does not number two or more different classes from 0.")
    return {"id2label": id2label, "label2id": label2id}


def _refuse_loading(source: str, found: Mapping[str, Any], hint: str = "") -> None:
    if found.get("error_msgs"):
        raise ModelError(f"{source} cannot be loaded: {str(found['error_msgs'])[:200]}")
    _refuse_differences(source, found["missing_keys"], found["unexpected_keys"], found["mismatched_keys"], hint)


def _refuse_differences(source: str, missing: Any, unexpected: Any, mismatched: Any, hint: str = "") -> None:
    shapes = [f"{name} is {_shape(stored)} in place of {_shape(wanted)}" for name, stored, wanted in sorted(mismatched)]
    for what, names in (
        ("lack", missing),
        ("are of another shape:", shapes),
        ("are of another model: they hold", unexpected),
    ):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise ModelError(
                f"The weights of {source} do not fit the model: they {what} {', '.join(sorted(names)[:3])}{more}.",
                hint=hint,
            )


def _shape(size: Any) -> str:
    return "×".join(map(str, size)) or "one number"


def _without_code(stored: Any) -> Any:
    if isinstance(stored, dict):
        return {name: _without_code(value) for name, value in stored.items() if name not in _NOT_TAKEN_OVER}
    return [_without_code(value) for value in stored] if isinstance(stored, list) else stored


def hush() -> None:
    """Silence transformers' and the Hub's progress bars and everything below an error."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    hub.set_verbosity_error()


def save_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write ``tensors`` and ``metadata`` to ``path`` as safetensors; equal arguments always give equal bytes."""
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    if metadata:
        # The library writes metadata in an order that differs from process to process.
        write_metadata(path, metadata)


def fingerprint(network: nn.Module) -> str:
    """A digest of what a network computes: its class, and its weights and statistics by name.

    What one without weights computes is in its ``extra_repr``.
    """
    digest = hashlib.sha256(f"{type(network).__qualname__}{network.extra_repr()}".encode())
    for name, tensor in sorted(network.state_dict().items()):
        # How many batches it was trained on has no part in what it computes.
        if not name.endswith("num_batches_tracked"):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
