import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fer_cli.embeddings.embed import Embeddings


def table(views: int, count: int, width: int = 3) -> torch.Tensor:
    return torch.arange(views * count * width, dtype=torch.float32).view(views, count, width)


@given(st.permutations(["a", "b", "c"]), st.integers(1, 3))
def test_embeddings_are_found_by_name_in_the_order_asked_for(names, views):
    stored = Embeddings(["a", "b", "c"], table(views, 3))
    found = stored.of(names)
    assert found.shape == (views, 3, 3)
    for place, name in enumerate(names):
        assert torch.equal(found[:, place], stored.table[:, "abc".index(name)])


def test_a_strange_name_is_an_error_and_so_are_names_that_do_not_fit():
    with pytest.raises(KeyError):
        Embeddings(["a"], table(1, 1)).of(["b"])
    with pytest.raises(ValueError, match="2 names"):
        Embeddings(["a", "b"], table(1, 3))


def test_they_come_back_from_their_file_under_their_key_alone(tmp_path):
    path = tmp_path / "embeddings" / "one.safetensors"
    stored = Embeddings(["ä", "b"], table(2, 2))
    stored.save(path, "encoder 1")
    loaded = Embeddings.load(path, "encoder 1")
    assert loaded.names == ("ä", "b")
    assert torch.equal(loaded.table, stored.table)
    assert Embeddings.load(path, "encoder 2") is None
    assert Embeddings.load(tmp_path / "nowhere.safetensors", "encoder 1") is None


def test_a_file_that_is_not_whole_counts_as_none(tmp_path):
    path = tmp_path / "one.safetensors"
    Embeddings(["a", "b"], table(1, 2)).save(path, "key")
    whole = path.read_bytes()
    for content in (b"", whole[:20], whole[:-4], b"x" * len(whole)):
        path.write_bytes(content)
        assert Embeddings.load(path, "key") is None


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_embeddings_that_are_no_numbers_count_as_none(tmp_path, value):
    spoilt = table(1, 2)
    spoilt[0, 1, 0] = value
    Embeddings(["a", "b"], spoilt).save(tmp_path / "one.safetensors", "key")
    assert Embeddings.load(tmp_path / "one.safetensors", "key") is None


def test_views_stand_beside_views_by_name():
    one, other = Embeddings(["a", "b"], table(1, 2)), Embeddings(["b", "a"], table(2, 2) + 100)
    both = one.concatenate(other)
    assert both.table.shape == (3, 2, 3)
    assert torch.equal(both.of(["a"])[1:], other.of(["a"]))
