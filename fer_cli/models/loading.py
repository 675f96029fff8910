"""Strict loading of weights: every tensor there, of the right shape and finite, and no code of a model's folder run.

transformers gives tensors that are missing random values and goes on; here each door (runs, encoders, identity
networks, published models) comes through the same checks, which say what is missing and where.
"""

import re
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, PretrainedConfig, PreTrainedModel
from transformers.utils import cached_file

from fer_cli.documents import read_document
from fer_cli.errors import ModelError
from fer_cli.files import LFS_POINTER, is_lfs_pointer, open_regular
from fer_cli.header import write_seen
from fer_cli.models.pickle_data import Interpreter, PickleRefusedError
from fer_cli.models.quiet import hush

CONFIG, WEIGHTS = "config.json", "model.safetensors"
#: The largest file of weights that is read, in bytes; a ViT-Huge takes 2.5 GB.
MAX_BYTES = 16 * 1024**3
#: How many numbers a configuration may ask for beyond twice those that the weights hold: for more no memory is taken.
SPARE = 250_000_000
#: The pickle inside a .pth file names its tensors, and holds none of their numbers.
MAX_PICKLE = 64 * 1024**2
#: What a configuration may say that makes transformers fetch, run or read something else, or compute otherwise.
_NOT_TAKEN_OVER = frozenset(
    (
        *("auto_map", "attn_implementation", "experts_implementation", "quantization_config", "fusion_config"),
        *("transformers_weights", "kernel_config", "custom_pipelines", "dtype", "torch_dtype"),
    )
)
#: What the pickle of a state dict calls by name, besides the kinds of storage.
_STATE_DICT = {
    *(("collections", "OrderedDict"), ("torch", "Size"), ("torch.storage", "UntypedStorage")),
    *(("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_parameter")),
}
#: How many pickles a .pth file of torch before 1.6 begins with.
_LEGACY_PICKLES = 5


class TrainedModel(PreTrainedModel):
    """A model whose file of weights names the subjects, by corpus, that it has ``seen`` in training."""

    seen: Mapping[str, list[str]] = {}

    def save_pretrained(self, save_directory: str | Path, **settings: Any) -> None:
        """Save as transformers does, then add what the model has seen to the header of its weights."""
        super().save_pretrained(save_directory, **settings)
        if (Path(save_directory) / WEIGHTS).is_file():
            write_seen(Path(save_directory) / WEIGHTS, self.seen)


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
            _require_plain(path)
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
                mend="Train or fetch the model again.",
            )


def require_fit(network: nn.Module, tensors: Mapping[str, Tensor], source: str, *, mend: str = "") -> None:
    """Raise :class:`~fer_cli.errors.ModelError` unless ``tensors`` are those of ``network``, by names and shapes.

    How many batches a BatchNorm has seen (``num_batches_tracked``) may be missing: nothing is computed from it.
    """
    own = network.state_dict()
    missing = [name for name in own if name not in tensors and not name.endswith("num_batches_tracked")]
    mismatched = [(name, tensors[name].shape, own[name].shape) for name in own if name in tensors]
    mismatched = [each for each in mismatched if each[1] != each[2]]
    _refuse_differences(source, missing, [name for name in tensors if name not in own], mismatched, mend)


def load_into(network: nn.Module, tensors: Mapping[str, Tensor], source: str, *, mend: str = "") -> None:
    """Give ``network`` the ``tensors``, all of them or none; raises as :func:`require_fit` does."""
    require_fit(network, tensors, source, mend=mend)
    network.load_state_dict({**network.state_dict(), **tensors})


def load_own(folder: Path, kinds: Mapping[str, type[PreTrainedModel]]) -> PreTrainedModel:
    """The model that training saved in ``folder``, one of ``kinds`` by its configuration's ``model_type``.

    Of the configuration no more is read than what that kind's configuration class declares in ``stored``. Raises
    :class:`~fer_cli.errors.ModelError` if there is no such model, or its weights do not fit or are not finite.
    """
    hush()
    if not (folder / CONFIG).is_file():
        raise ModelError(f"There is no model in {folder}: it has no {CONFIG}.", mend="fer train makes one.")
    stored = read_document(folder / CONFIG, dict[str, Any], ModelError)
    name = stored.get("model_type")
    kind = kinds.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ModelError(f"{folder} holds a {str(name)[:40]} model, which is not one of fer's.")
    fields = kind.config_class.stored
    read_document(folder / CONFIG, fields, ModelError)
    # What the type does not declare stays behind.
    told = msgspec.convert(stored, fields)
    labels = _labels(told.pop("id2label"), folder / CONFIG)
    tensors = read_weights(folder / WEIGHTS)
    try:
        config = kind.config_class(**told, **labels)
        with torch.device("meta"):
            wanted = sum(tensor.numel() for tensor in kind(config).state_dict().values())
        held = sum(tensor.numel() for tensor in tensors.values())
        if wanted > 2 * held + SPARE:
            raise ModelError(f"{folder / CONFIG} describes a model of {wanted} numbers, and {WEIGHTS} holds {held}.")
        model, found = kind.from_pretrained(
            None,
            config=config,
            state_dict=tensors,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except ModelError:
        raise
    except Exception as error:  # whatever a configuration that fits no model makes transformers raise
        raise ModelError(f"The model in {folder} cannot be loaded: {first_line(error)}") from error
    _refuse_loading(str(folder / WEIGHTS), found)
    return model


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
                mend=f"It needs what save_pretrained writes: {CONFIG}, {WEIGHTS}, preprocessor_config.json.",
            )
        stored = read_document(Path(source) / CONFIG, dict[str, Any], ModelError)
    else:
        stored, _ = PretrainedConfig.get_config_dict(source, **pinned)
    stored = _without_code(stored)
    name = stored.get("model_type")
    if not isinstance(name, str) or name not in CONFIG_MAPPING:
        raise ModelError(
            f"{source} is a model of the type {str(name)[:40]!r}, which transformers does not know: code that comes "
            "with a model is not run."
        )
    return CONFIG_MAPPING[name].from_dict(stored)


def load_foreign(
    kind: Any, source: str, config: PretrainedConfig, *, part: bool = False, mend: str = "", **settings: Any
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
    _refuse_loading(source, found, mend)
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
            _require_plain(Path(pickled))
        except Exception as error:  # whatever a file made to harm makes a reader raise
            raise ModelError(f"{pickled} cannot be read as weights ({first_line(error)}).") from error


def _require_plain(path: Path) -> None:
    """Refuse a file of torch's whose pickle does anything that a state dict has no need of, before torch reads it.

    torch's reader runs no code either, but follows a few bytes that take it years.
    """
    # A storage is what the tensors of a state dict refer to outside of the pickle.
    interpreter = Interpreter(_stand_in, lambda _: _Inert())
    with open_regular(path) as file:
        if not zipfile.is_zipfile(file):
            file.seek(0)
            for _ in range(_LEGACY_PICKLES):
                interpreter.load(file)
            return
        with zipfile.ZipFile(file) as archive:
            names = [entry.filename.casefold() for entry in archive.infolist()]
            if len(set(names)) < len(names) or any(entry.compress_type for entry in archive.infolist()):
                raise PickleRefusedError("is no file of torch's")
            [pickled] = [entry for entry in archive.infolist() if entry.filename.endswith("/data.pkl")]
            with archive.open(pickled) as content:
                interpreter.load(BytesIO(content.read(MAX_PICKLE)))


class _Inert(dict):
    """Stands in for whatever a state dict is made of."""

    def build(self, state: Any) -> None:
        pass


def _stand_in(module: str, name: str) -> Any:
    if (module, name) in _STATE_DICT or (module == "torch" and re.fullmatch(r"\w+Storage", name)):
        return lambda *_: _Inert()
    raise PickleRefusedError(f"it asks for {module}.{name}, which no state dict needs")


def _labels(names: Mapping[str, str], path: Path) -> dict[str, Any]:
    """The classes, in order, as a configuration takes them."""
    id2label = {place: names.get(str(place), "") for place in range(len(names))}
    label2id = {name: place for place, name in id2label.items()}
    if "" in label2id or not 1 < len(names) == len(label2id):
        raise ModelError(f"{path}: id2label does not number two or more different classes from 0.")
    return {"id2label": id2label, "label2id": label2id}


def _refuse_loading(source: str, found: Mapping[str, Any], mend: str = "") -> None:
    if found.get("error_msgs"):
        raise ModelError(f"{source} cannot be loaded: {str(found['error_msgs'])[:200]}")
    _refuse_differences(source, found["missing_keys"], found["unexpected_keys"], found["mismatched_keys"], mend)


def _refuse_differences(source: str, missing: Any, unexpected: Any, mismatched: Any, mend: str = "") -> None:
    shapes = [f"{name} is {_shape(held)} in place of {_shape(wanted)}" for name, held, wanted in sorted(mismatched)]
    for what, names in (
        ("lack", missing),
        ("are of another shape:", shapes),
        ("are of another model: they hold", unexpected),
    ):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise ModelError(
                f"The weights of {source} do not fit the model: they {what} {', '.join(sorted(names)[:3])}{more}.",
                mend=mend,
            )


def _shape(size: Any) -> str:
    return "×".join(map(str, size)) or "one number"


def _without_code(stored: Any) -> Any:
    if isinstance(stored, dict):
        return {name: _without_code(value) for name, value in stored.items() if name not in _NOT_TAKEN_OVER}
    return [_without_code(value) for value in stored] if isinstance(stored, list) else stored
