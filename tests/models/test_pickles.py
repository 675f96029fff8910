import os
import pickle
import pickletools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fer_cli.errors import ModelError
from fer_cli.models import pickles as arrays_pickle
from fer_cli.models.pickles import read_arrays


def written(path, content, protocol: int = 2):
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol=protocol))
    return path


@given(
    st.dictionaries(
        st.text(st.characters(codec="latin1"), min_size=1, max_size=8),
        arrays.arrays(st.sampled_from(["<f4", ">f8", "<i8", "u1"]), arrays.array_shapes(max_dims=4, max_side=4)),
        min_size=1,
        max_size=3,
    ),
    st.integers(0, 5),
)
def test_arrays_come_back_as_they_were_whatever_the_protocol(tmp_path_factory, content, protocol):
    path = written(tmp_path_factory.mktemp("pickle") / "arrays.pkl", content, protocol)
    # Protocol 5 holds arrays by a function of numpy's that this reader does not know; no weights are published so.
    if protocol == 5:
        with pytest.raises(ModelError, match="_frombuffer"):
            read_arrays(path)
        return
    read = read_arrays(path)
    assert read.keys() == content.keys()
    assert all(np.array_equal(read[name], array, equal_nan=True) for name, array in content.items())


def test_a_file_that_python_2_wrote_is_read(tmp_path):
    # {"a": numpy.arange(3, dtype="<f4")} as pickled by Python 2.7 and numpy 1.16 with protocol 2.
    by_python_2 = (
        b"\x80\x02}q\x00U\x01aq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85q\x04"
        b"U\x01bq\x05\x87q\x06Rq\x07(K\x01K\x03\x85q\x08cnumpy\ndtype\nq\tU\x02f4q\nK\x00K\x01\x87q\x0bRq\x0c(K\x03"
        b"U\x01<q\rNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x0eb\x89U\x0c\x00\x00\x00\x00\x00\x00\x80?\x00\x00"
        b"\x00@q\x0ftq\x10bs."
    )
    read = read_arrays(written(tmp_path / "two.pkl", by_python_2))
    assert read["a"].tolist() == [0.0, 1.0, 2.0]
    assert read["a"].dtype == np.float32


def test_columns_first_arrays_are_read(tmp_path):
    array = np.asfortranarray(np.arange(6, dtype="f4").reshape(2, 3))
    assert np.array_equal(read_arrays(written(tmp_path / "f.pkl", {"a": array}))["a"], array)


class Trap:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]


@pytest.mark.parametrize("protocol", range(5))
def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(tmp_path, protocol):
    sprung = tmp_path / "sprung"
    for number, call in enumerate(
        [
            (os.system, f"touch {sprung}"),
            (open, str(sprung), "w"),
            (eval, f"open({str(sprung)!r}, 'w')"),
            (np.load, str(sprung)),
            (getattr, 1, "real"),
        ]
    ):
        for content in ({"conv1.weight": Trap(*call)}, Trap(*call), {"conv1.weight": [Trap(*call)]}):
            path = written(tmp_path / f"{number}.pkl", content, protocol)
            with pytest.raises(ModelError, match="was refused, and nothing in it was run"):
                read_arrays(path)
    assert not sprung.exists()


def test_neither_numpys_own_names_nor_its_unpickling_lead_anywhere_else(tmp_path):
    for name in (b"cnumpy\nfromfile\n", b"cnumpy.core.multiarray\nscalar\n", b"cnumpy\nload\n", b"cbuiltins\neval\n"):
        path = written(tmp_path / "name.pkl", b"\x80\x02" + name + b".")
        with pytest.raises(ModelError, match="asks for"):
            read_arrays(path)


@pytest.mark.parametrize(
    "content",
    [
        {"a": np.array([object()], dtype=object)},
        {"a": np.array(["text"])},
        {"a": np.array([(1, 2.0)], dtype=[("x", "i4"), ("y", "f4")])},
        {"a": [1, 2]},
        {1: np.zeros(2)},
        [np.zeros(2)],
        {},
    ],
)
def test_what_is_no_dictionary_of_arrays_of_numbers_is_refused(tmp_path, content):
    with pytest.raises(ModelError):
        read_arrays(written(tmp_path / "other.pkl", content))


def test_an_array_that_lies_about_its_size_is_refused(tmp_path):
    whole = pickle.dumps({"a": np.zeros(3, "f4")}, protocol=2)
    lying = whole.replace(b"K\x03\x85", b"K\x7f\x85")
    assert lying != whole
    pickletools.dis(lying, out=open(os.devnull, "w"))  # noqa: SIM115, PTH123 (still a pickle)
    with pytest.raises(ModelError, match="was refused"):
        read_arrays(written(tmp_path / "lying.pkl", lying))


@pytest.mark.parametrize("content", [b"", b"\x80", b"PK\x03\x04", b"\x80\x02}q\x00U\x01a", b"not a pickle at all"])
def test_what_is_no_pickle_is_said(tmp_path, content):
    with pytest.raises(ModelError, match="was refused"):
        read_arrays(written(tmp_path / "no.pkl", content))


def test_what_is_not_there_or_too_large_is_said(tmp_path, monkeypatch):
    with pytest.raises(ModelError, match="cannot be read"):
        read_arrays(tmp_path / "nowhere.pkl")
    monkeypatch.setattr(arrays_pickle, "MOST_BYTES", 10)
    with pytest.raises(ModelError, match="larger than"):
        read_arrays(written(tmp_path / "large.pkl", {"a": np.zeros(3)}))


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02}K\x01" + b"2\x86" * 40 + b"K\x01s.",
        # The same without the step that doubles what is on top, which pickles of arrays have no need of.
        b"\x80\x02}(K\x01q\x00" + b"".join(b"h%c\x85q%c0" % (n, n + 1) for n in range(3)) + b".",
        b"\x80\x02}K\x01q\x00" + b"".join(b"h%ch%c\x86q%c" % (n, n, n + 1) for n in range(40)) + b"K\x01s.",
        b"\x80\x02\x8b" + (5_000_000).to_bytes(4, "little") + b"\x7f" * 5_000_000 + b".",
        b"\x80\x02" + b"N0" * 100 + b".",
    ],
)
def test_a_small_pickle_that_would_take_for_ever_is_refused_at_once(tmp_path, content):
    with pytest.raises(ModelError, match="was refused, and nothing in it was run"):
        read_arrays(written(tmp_path / "hang.pkl", content))


def test_a_pickle_of_more_steps_than_arrays_take_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("fer_cli.models.pickles.MAX_STEPS", 50)
    with pytest.raises(ModelError, match="has no end"):
        read_arrays(written(tmp_path / "long.pkl", {name: np.zeros(1) for name in "abcdefgh"}))


def test_the_same_bytes_are_not_said_without_end(tmp_path, monkeypatch):
    array = np.zeros(100, "u1")
    path = written(tmp_path / "again.pkl", {str(number): array.copy() for number in range(20)})
    monkeypatch.setattr(arrays_pickle, "MOST_BYTES", path.stat().st_size)
    assert len(read_arrays(path)) == 20
    shared = {str(number): array for number in range(99)}
    with pytest.raises(ModelError, match="holds more than"):
        read_arrays(written(tmp_path / "shared.pkl", shared))
