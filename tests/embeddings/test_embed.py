import copy

import pytest
import torch
from torchvision.transforms import v2

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.dataset.tensors import Crops
from fer_cli.embeddings import embed as embedding
from fer_cli.embeddings.embed import Views, embed, encode, fingerprint
from fer_cli.models.preprocessing import Preprocessing
from fer_cli.training.augmentation import augmentation
from tests.made import made_dataset, made_model

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def encoder():
    return made_model(features="target").encoder.requires_grad_(False)


class Counting(torch.nn.Module):
    """The mean colours of a picture, and how many pictures it was asked for."""

    def __init__(self):
        super().__init__()
        self.seen = 0

    def forward(self, pictures):
        self.seen += len(pictures)
        return pictures.mean(dim=(2, 3))


def test_they_are_what_the_encoder_makes_of_each_crop(encoder, made):
    preprocessing = Preprocessing(32)
    embeddings = embed(encoder, made, preprocessing, device=CPU)
    crops = Crops(made.path)
    for name in made.metadata["file_name"]:
        with torch.no_grad():
            expected = encoder(preprocessing(crops[name][None]))[0]
        assert expected.abs().max() > 0.01
        assert torch.allclose(embeddings.of([name])[0, 0], expected, atol=1e-5)


def test_each_crop_is_embedded_once_and_then_read(made):
    counting = Counting()
    first = embed(counting, made, Preprocessing(32), device=CPU)
    assert counting.seen == len(made.metadata)
    again = embed(counting, made, Preprocessing(32), device=CPU)
    assert counting.seen == len(made.metadata)
    assert torch.equal(first.table, again.table)
    assert len(list((made.path / "embeddings").iterdir())) == 1


def test_another_encoder_size_or_dataset_has_embeddings_of_its_own(encoder, made, tmp_path):
    embed(encoder, made, Preprocessing(32), device=CPU)
    other = copy.deepcopy(encoder)
    next(other.parameters()).data[0] += 1
    embed(other, made, Preprocessing(32), device=CPU)
    embed(encoder, made, Preprocessing(40), device=CPU)
    embed(encoder, made, Preprocessing(32, mean=(0.5,) * 3), device=CPU)
    metadata = (made.path / "metadata.csv").read_text().splitlines()
    (made.path / "metadata.csv").write_text("\n".join(metadata[:-1]) + "\n")
    embed(encoder, PreparedDataset.open(made.path), Preprocessing(32), device=CPU)
    assert len(list((made.path / "embeddings").iterdir())) == 5


def test_a_fingerprint_tells_encoders_by_weights_and_statistics(encoder):
    other = copy.deepcopy(encoder)
    assert fingerprint(other) == fingerprint(encoder)
    for name, tensor in encoder.state_dict().items():
        other = copy.deepcopy(encoder)
        with torch.no_grad():
            other.state_dict()[name].add_(1)
        same = fingerprint(other) == fingerprint(encoder)
        assert same is name.endswith("num_batches_tracked")
        if tensor.dim() and name.endswith("running_var"):
            break


def test_augmented_views_follow_the_crop_and_vary_a_subject_alike(encoder, made):
    views = Views(3, 0, "light", augmentation("light"))
    embeddings = embed(encoder, made, Preprocessing(32), device=CPU, views=views)
    count = len(made.metadata)
    assert embeddings.table.shape == (4, count, encoder.width)
    plain = embed(encoder, made, Preprocessing(32), device=CPU)
    assert torch.equal(embeddings.table[:1], plain.table)
    assert not torch.allclose(embeddings.table[1], embeddings.table[2])

    seen = {}

    def note(pictures):
        seen.setdefault(torch.initial_seed(), []).append(1)
        return pictures

    embed(encoder, made, Preprocessing(32), device=CPU, views=Views(2, 0, "noted", note))
    # One draw for each of two views of nine subjects, shared by the subject's four crops.
    assert sorted(map(len, seen.values())) == [4] * 18


def test_views_are_the_same_whenever_they_are_drawn_and_leave_the_random_numbers_alone(encoder, made, tmp_path):
    views = Views(2, 7, "light", augmentation("light"))
    torch.manual_seed(5)
    before = torch.rand(1)
    torch.manual_seed(5)
    first = embed(encoder, made, Preprocessing(32), device=CPU, views=views)
    assert torch.equal(torch.rand(1), before)
    again = embed(encoder, made_dataset(tmp_path / "again"), Preprocessing(32), device=CPU, views=views)
    assert torch.equal(first.table, again.table)


def test_views_of_an_augmentation_that_has_changed_since_are_drawn_anew(made):
    """A cache that goes by the augmentation's name alone would train on views that it no longer draws."""
    before, after = (
        embed(
            Counting(), made, Preprocessing(32), device=CPU, views=Views(2, 0, "same name", v2.ColorJitter(brightness))
        )
        for brightness in (0.2, 0.4)
    )
    assert torch.equal(before.table[0], after.table[0])
    assert not torch.equal(before.table[1:], after.table[1:])


def test_where_nothing_can_be_written_they_are_computed_all_the_same(encoder, made, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(embedding.Embeddings, "save", full)
    assert embed(encoder, made, Preprocessing(32), device=CPU).table.shape[1] == len(made.metadata)


def pictures(count: int) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [{"pixel_values": torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)}]


def means(pixel_values: torch.Tensor) -> torch.Tensor:
    return pixel_values.mean(dim=(2, 3))


def test_a_batch_that_a_gpu_has_no_memory_for_is_computed_by_halves():
    sizes = []

    def network(pixel_values):
        sizes.append(len(pixel_values))
        if len(pixel_values) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return means(pixel_values)

    found = encode(network, pictures(10), Preprocessing(32), CPU)
    assert torch.equal(found, encode(means, pictures(10), Preprocessing(32), CPU))
    assert sizes == [10, 5, 2, 3, 5, 2, 3]


def test_a_gpu_that_has_no_memory_for_one_picture_says_so():
    def network(pixel_values):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        encode(network, pictures(3), Preprocessing(32), CPU)


@pytest.mark.parametrize(("kind", "dtype", "batch"), [("cpu", None, 32), ("cuda", torch.float16, 256)])
def test_a_gpu_computes_in_half_precision_and_large_batches_and_a_processor_does_not(kind, dtype, batch):
    assert embedding.inference_dtype(torch.device(kind)) is dtype
    assert embedding.batch_size(torch.device(kind)) == batch


def test_what_overflows_in_half_precision_is_computed_again_in_full(monkeypatch):
    """On a processor in bfloat16, which stands in for a GPU's float16."""
    layer = torch.nn.Linear(3, 2)
    kinds = []

    def network(pixel_values):
        output = layer(means(pixel_values))
        kinds.append(output.dtype)
        return output * (float("inf") if overflows and output.dtype == torch.bfloat16 else 1)

    monkeypatch.setattr(embedding, "inference_dtype", lambda device: torch.bfloat16)
    overflows = False
    half = encode(network, pictures(4), Preprocessing(32), CPU)
    overflows = True
    full = encode(network, pictures(4), Preprocessing(32), CPU)
    assert kinds == [torch.bfloat16, torch.bfloat16, torch.float32]
    expected = layer(means(Preprocessing(32)(pictures(4)[0]["pixel_values"])))
    assert torch.allclose(full, expected, atol=1e-6)
    assert not torch.equal(half, full)
    assert torch.allclose(half, full, atol=0.02)


def test_what_is_too_small_for_half_precision_is_computed_again_in_full(monkeypatch):
    """An untrained network without normalisation gives numbers that float16 rounds to zero."""
    layer = torch.nn.Linear(3, 2)
    torch.nn.init.constant_(layer.bias, 0)

    def network(pixel_values):
        return layer(means(pixel_values)) * 1e-9

    monkeypatch.setattr(embedding, "inference_dtype", lambda device: torch.float16)
    found = encode(network, pictures(4), Preprocessing(32), CPU)
    expected = layer(means(Preprocessing(32)(pictures(4)[0]["pixel_values"]))) * 1e-9
    assert found.abs().max() > 0
    assert torch.allclose(found, expected, rtol=1e-4, atol=0)


def test_embeddings_in_another_precision_are_others(made, monkeypatch):
    embed(Counting(), made, Preprocessing(32), device=CPU)
    monkeypatch.setattr(embedding, "inference_dtype", lambda device: torch.bfloat16)
    embed(Counting(), made, Preprocessing(32), device=CPU)
    assert len(list((made.path / "embeddings").iterdir())) == 2
