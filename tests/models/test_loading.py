"""Every door to weights: nothing missing, nothing else, nothing that is no number, nothing that is run."""

import json
import os
import shutil
import stat

import pytest
import torch
from safetensors.torch import load_file, save_file

from fer_cli.errors import ModelError
from fer_cli.models import (
    Classifier,
    DisentangledConfig,
    DisentangledModel,
    IdentityConfig,
    IdentityModel,
    ViTSEConfig,
    ViTSEModel,
)
from fer_cli.models.backbones import starting_encoder
from fer_cli.models.hub import load_published
from fer_cli.models.identity import identity_weights
from fer_cli.models.loading import load_own, read_weights
from fer_cli.models.preprocessing import Preprocessing
from fer_cli.models.vit_se import pretrained_vit
from fer_cli.training.recipes.base import BuildContext
from fer_cli.training.recipes.difference import DifferenceRecipe
from tests.made import made_model
from tests.models.test_hub import folder as _published_folder

LABELS = {"id2label": {0: "anger", 1: "fear"}, "label2id": {"anger": 0, "fear": 1}}
SMALL = "mobilenet_v3_small"
TINY = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16, "image_size": 32}
published = _published_folder
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 165000000\n"


def difference(folder):
    model = made_model()
    model.save_pretrained(folder)
    Preprocessing(32, face_crop={"size": 32, "margin": 0.15}).save(folder)
    return model


def disentangled(folder):
    torch.manual_seed(0)
    model = DisentangledModel(DisentangledConfig(backbone=SMALL, identity=SMALL, **LABELS))
    model.save_pretrained(folder)
    Preprocessing(32).save(folder)
    return model


def vit_se(folder):
    torch.manual_seed(0)
    model = ViTSEModel(ViTSEConfig(vit=TINY, **LABELS))
    model.save_pretrained(folder)
    Preprocessing(32).save(folder)
    return model


def identity(folder):
    torch.manual_seed(0)
    model = IdentityModel(IdentityConfig(**LABELS))
    model.save_pretrained(folder)
    return model


def encoder_of(folder):
    recipe = DifferenceRecipe(encoder=str(folder), backbone=SMALL)
    return recipe.build(BuildContext(("anger", "fear"), 32))


#: What opens a folder, and what makes one for it.
DOORS = {
    "a run of difference": (difference, lambda folder: Classifier.load(folder, "cpu")),
    "a run of disentangled": (disentangled, lambda folder: Classifier.load(folder, "cpu")),
    "a run of vit-se": (vit_se, lambda folder: Classifier.load(folder, "cpu")),
    "--model with a run's files": (vit_se, lambda folder: load_published(folder, "cpu")),
    "--encoder": (difference, encoder_of),
    "--encoder FILE": (difference, lambda folder: encoder_of(folder / "model.safetensors")),
    "--identity": (identity, identity_weights),
    "--identity FILE": (identity, lambda folder: identity_weights(folder / "model.safetensors")),
    "--backbone": (vit_se, lambda folder: pretrained_vit(str(folder), pooling="class-token")),
}


def damaged(folder, change):
    """Change the first tensor of the encoder, the one in the middle, or the last, as ``change`` says."""
    tensors = load_file(folder / "model.safetensors")
    names = sorted(name for name in tensors if name.startswith(("encoder.features", "vit.")) and tensors[name].dim())
    change(tensors, names[len(names) // 2])
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def lose(tensors, name):
    del tensors[name]


def misshape(tensors, name):
    tensors[name] = torch.zeros(*tensors[name].shape, 2)


def add(tensors, name):
    tensors[name + ".more"] = torch.zeros(3)


def spoil(value):
    def change(tensors, name):
        tensors[name].view(-1)[-1] = value

    return change


CHANGES = {
    "lost": (lose, "lack"),
    "misshapen": (misshape, "another shape"),
    "added": (add, "another model"),
    "nan": (spoil(float("nan")), "NaN or infinite"),
    "inf": (spoil(float("-inf")), "NaN or infinite"),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("change", CHANGES)
def test_weights_that_are_not_whole_are_refused_at_every_door_with_what_and_where(tmp_path, door, change):
    make, open_ = DOORS[door]
    make(tmp_path / "model")
    open_(tmp_path / "model")
    damage, said = CHANGES[change]
    damaged(tmp_path / "model", damage)
    with pytest.raises(ModelError, match=said) as caught:
        open_(tmp_path / "model")
    assert "model" in caught.value.message


@pytest.mark.parametrize("change", CHANGES)
def test_published_models_are_loaded_as_strictly(published, change):
    tensors = load_file(published / "model.safetensors")
    damage, said = CHANGES[change]
    damage(tensors, min(name for name in tensors if tensors[name].dim() == 1 and tensors[name].is_floating_point()))
    save_file(tensors, published / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=said):
        load_published(published, "cpu")


@pytest.mark.parametrize("make", [difference, disentangled, vit_se])
def test_whole_weights_come_back_bit_for_bit(tmp_path, make):
    model = make(tmp_path)
    again = Classifier.load(tmp_path, "cpu").model
    assert again.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in model.state_dict().items())
    assert again.config.id2label == model.config.id2label
    assert again.config.label2id == model.config.label2id


def test_a_file_with_one_tensor_is_no_identity_encoder(tmp_path):
    save_file({"features.12.0.weight": torch.zeros(576, 96, 1, 1)}, tmp_path / "one.safetensors")
    with pytest.raises(ModelError, match="lack"):
        identity_weights(tmp_path / "one.safetensors")


def test_weights_that_answer_with_no_number_give_no_prediction(tmp_path):
    model = difference(tmp_path)
    for tensor in model.head.parameters():
        tensor.data.fill_(1e38)
    model.save_pretrained(tmp_path)
    classifier = Classifier.load(tmp_path, "cpu")
    faces = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with pytest.raises(ModelError, match="NaN or infinite"):
        classifier.probabilities(faces, faces)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("image_mean", [float("nan"), 0.5, 0.5], "image_mean"),
        ("image_std", [float("inf"), 0.5, 0.5], "image_std"),
        ("image_std", [0, 0.5, 0.5], "image_std"),
        ("image_std", [-1, 0.5, 0.5], "image_std"),
        ("image_mean", [120, 110, 100], "image_mean"),
        ("image_mean", [0.5], "image_mean"),
        ("size", {"height": 10**12, "width": 10**12}, "height"),
        ("size", 224, "Expected `object`, got `int`"),
        ("face_crop", {"size": "large"}, "face_crop.size"),
    ],
)
def test_preprocessing_that_is_none_is_refused_by_field(tmp_path, field, value, said):
    difference(tmp_path)
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(ModelError, match=said):
        Classifier.load(tmp_path, "cpu")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("field", ["image_mean", "image_std"])
def test_a_published_processor_that_makes_no_numbers_is_refused(published, field, value):
    path = published / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: [value, 0.5, 0.5]}))
    with pytest.raises(ModelError, match="image processor"):
        load_published(published, "cpu")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hidden_sizes": [10**30]}, "hidden_sizes"),
        ({"hidden_sizes": [60000, 60000]}, "describes a model of"),
        ({"hidden_sizes": {"a": 1}}, "Expected `array`, got `object`"),
        ({"backbone": ["x"]}, "backbone"),
        ({"id2label": {"0": "anger"}}, "id2label"),
        ({"id2label": {"0": "anger", "7": "fear"}}, "id2label"),
        ({"id2label": ["anger", "fear"]}, "id2label"),
        ({"tune_encoder": "yes"}, "tune_encoder"),
        ({"model_type": ["fer-difference"]}, "not one of fer's"),
    ],
)
def test_a_configuration_of_the_wrong_types_is_refused_by_field(tmp_path, changes, said):
    difference(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(ModelError, match=said):
        Classifier.load(tmp_path, "cpu")


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_documents_nested_too_deep_are_refused(tmp_path, published, name):
    difference(tmp_path)
    for folder in (tmp_path, published):
        (folder / name).write_text('{"a":' * 100_000 + "1" + "}" * 100_000)
        with pytest.raises(ModelError):
            load_published(folder, "cpu")


def test_what_else_a_configuration_says_has_no_part_in_a_run(tmp_path):
    difference(tmp_path)
    path = tmp_path / "config.json"
    others = {"dtype": "float16", "attn_implementation": "somebody/kernel", "transformers_weights": "../other.bin"}
    path.write_text(
        json.dumps({**json.loads(path.read_text()), **others, "quantization_config": {"quant_method": "x"}})
    )
    assert next(Classifier.load(tmp_path, "cpu").model.parameters()).dtype == torch.float32


@pytest.mark.parametrize("door", ["a run of difference", "--encoder", "--identity"])
def test_case_02_a_git_lfs_pointer_is_named(tmp_path, door):
    make, open_ = DOORS[door]
    make(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(POINTER)
    with pytest.raises(ModelError, match="Git LFS pointer") as caught:
        open_(tmp_path)
    assert "git lfs pull" in caught.value.message


def test_case_02_a_git_lfs_pointer_of_a_published_model_is_named(published):
    (published / "model.safetensors").write_bytes(POINTER)
    with pytest.raises(ModelError, match="Git LFS pointer"):
        load_published(published, "cpu")


def test_case_17_others_may_read_the_weights_and_who_may_not_is_told_so(tmp_path, monkeypatch):
    before = os.umask(0o022)
    try:
        difference(tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "model.safetensors").stat().st_mode) == 0o644

    def refused(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("fer_cli.models.loading.open_regular", refused)
    with pytest.raises(ModelError, match="cannot be read: Permission denied"):
        Classifier.load(tmp_path, "cpu")


def test_pipes_in_the_place_of_files_are_refused(tmp_path, published):
    difference(tmp_path)
    for folder in (tmp_path, published):
        for name in ("config.json", "preprocessor_config.json", "model.safetensors"):
            kept = folder / f"{name}.kept"
            (folder / name).rename(kept)
            os.mkfifo(folder / name)
            with pytest.raises(ModelError):
                load_published(folder, "cpu")
            (folder / name).unlink()
            kept.rename(folder / name)
        load_published(folder, "cpu")


@pytest.mark.parametrize("legacy", [False, True])
def test_a_state_dict_of_torchs_is_read(tmp_path, legacy):
    tensors = {"features.weight": torch.arange(6.0).view(2, 3).T, "count": torch.tensor(3)}
    torch.save(tensors, tmp_path / "w.pth", _use_new_zipfile_serialization=not legacy)
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in read_weights(tmp_path / "w.pth").items())


HANG = b"K\x01q\x00" + b"".join(b"h%ch%c\x86q%c" % (n, n, n + 1) for n in range(60))


def test_a_small_pth_that_would_take_for_ever_is_refused(tmp_path):
    import zipfile

    content = b"\x80\x02}" + HANG + b"K\x01s."
    (tmp_path / "legacy.pth").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "zip.pth", "w") as archive:
        archive.writestr("w/data.pkl", content)
        archive.writestr("w/version", "3\n")
        archive.writestr("w/byteorder", "little")
    as_argument = b"\x80\x02ccollections\nOrderedDict\n](" + HANG + b"K\x01\x86e\x85R."
    (tmp_path / "argument.pth").write_bytes(as_argument)
    for name in ("legacy", "zip", "argument"):
        with pytest.raises(ModelError, match="cannot be read as weights"):
            read_weights(tmp_path / f"{name}.pth")


def test_a_published_models_pickle_is_looked_at_before_it_is_read(published):
    (published / "model.safetensors").unlink()
    (published / "pytorch_model.bin").write_bytes(b"\x80\x02}" + HANG + b"K\x01s.")
    with pytest.raises(ModelError, match="cannot be read as weights"):
        load_published(published, "cpu")


def test_a_view_of_one_number_as_many_is_refused(tmp_path):
    torch.save({"features.weight": torch.zeros(1).expand(10**7, 10**7)}, tmp_path / "view.pth")
    with pytest.raises(ModelError, match="more numbers than it holds"):
        read_weights(tmp_path / "view.pth")


@pytest.mark.parametrize(
    "header",
    [
        b"\xff" * 8,
        (1 << 40).to_bytes(8, "little") + b"{}",
        (200_000).to_bytes(8, "little") + b'{"a":' * 40_000,
        (2).to_bytes(8, "little") + b"[]",
        (64).to_bytes(8, "little") + b'{"a":{"dtype":"F32","shape":[1000000,1000000],"data_offsets":[0,4]}}'[:64],
    ],
)
def test_hostile_headers_are_refused(tmp_path, header):
    difference(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(header)
    with pytest.raises(ModelError, match="cannot be read as weights"):
        Classifier.load(tmp_path, "cpu")


def test_case_24_a_published_model_of_one_label_is_refused_with_why(tmp_path):
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    one = {"id2label": {0: "happy"}, "label2id": {"happy": 0}}
    ViTForImageClassification(ViTConfig(**TINY, **one)).save_pretrained(tmp_path)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="gives a number for happy, not probabilities"):
        load_published(tmp_path, "cpu")


def test_a_model_of_another_kind_is_no_run(tmp_path):
    identity(tmp_path)
    with pytest.raises(ModelError, match="fer-identity model, which is not one of fer's"):
        Classifier.load(tmp_path, "cpu")
    assert isinstance(load_own(tmp_path, IdentityModel), IdentityModel)


def test_an_encoder_file_may_be_renamed(tmp_path):
    difference(tmp_path / "run")
    shutil.copy(tmp_path / "run" / "model.safetensors", tmp_path / "mine.safetensors")
    backbone, weights = starting_encoder(str(tmp_path / "mine.safetensors"), None)
    assert backbone == SMALL
    assert len(weights) > 100
