"""The table of results: what it holds, its file, and what became of the cells of an earlier one."""

import os
import random

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fer_cli
from fer_cli.benchmark import results as module
from fer_cli.benchmark.cells import COLUMNS, VERSION, CellResult
from fer_cli.benchmark.results import (
    DEFAULT_METRIC,
    RESULTS,
    against,
    metric_columns,
    pooled,
    read_results,
    results_table,
    write_results,
)
from fer_cli.errors import FerError
from tests.benchmark.made_results import made_cell, made_result, made_results


@pytest.fixture(scope="module")
def results() -> list[CellResult]:
    failed = made_result(made_cell("baseline", "predictions", (), "wild"), reason="out of memory")
    return [*made_results(), failed]


@pytest.fixture(scope="module")
def table(results) -> pd.DataFrame:
    return results_table(results)


@pytest.fixture
def file(table, tmp_path):
    path = tmp_path / RESULTS
    write_results(table, path)
    return path


def rewritten(file, change=lambda stored: stored, **metadata):
    """The file with a changed table or metadata, as a hostile or another program might write it."""
    stored = pq.read_table(file)
    noted = {**stored.schema.metadata, **{name.encode(): value.encode() for name, value in metadata.items()}}
    pq.write_table(change(stored).replace_schema_metadata(noted), file)
    return file


def test_the_columns_and_their_types_are_the_same_whatever_the_cells_hold(table):
    for made in (table, results_table([]), results_table([made_result(made_cell(), reason="diverged")])):
        assert list(made.columns) == [*COLUMNS, *metric_columns()]
        assert (made.dtypes == table.dtypes).all()
    assert table["fold"].dtype == "Int64"
    assert table["chance"].dtype == table[f"{DEFAULT_METRIC}_low"].dtype == float
    assert not table[["recipe", "train", "reason", "notes"]].isna().any(axis=None)


def test_a_row_is_a_cell_and_then_come_its_folds():
    cell = made_cell("difference", train=("acted", "wild"), test="london", neutral="given", repeat=1, seed=3)
    table = results_table([made_result(cell, 0.5, folds=3)])
    assert table["fold"].tolist() == [pd.NA, 0, 1, 2]
    assert set(table["cell"]) == {cell.digest}
    assert set(table["train"]) == {"acted + wild"}
    assert set(table["neutral"]) == {"given"}
    assert set(table["repeat"]) == {1}
    assert set(table["seed"]) == {3}
    assert table["train_subjects"].isna().all()
    assert table["n"].tolist() == [600, 200, 200, 200]
    assert table["classes"].iloc[0] == "anger, disgust, happiness"
    assert table[f"{DEFAULT_METRIC}_low"].notna().tolist() == [True, False, False, False]
    assert len(pooled(table)) == 1


def test_a_failed_cell_is_a_row_with_its_reason_and_no_metric(table):
    failed = table[table["status"] == "failed"]
    assert failed["reason"].tolist() == ["out of memory"]
    assert failed[metric_columns()].isna().all(axis=None)


def test_the_order_of_the_cells_does_not_matter(results, table, tmp_path):
    shuffled = random.Random(0).sample(results, len(results))
    pd.testing.assert_frame_equal(results_table(shuffled), table)
    assert table["evaluation"].drop_duplicates().tolist() == [
        *("within", "cross-corpus", "leave-one-corpus-out", "learning-curve", "predictions")
    ]


def test_the_file_has_the_same_bytes_each_time_and_reads_back_the_same(results, table, file, tmp_path):
    again = tmp_path / "again" / RESULTS
    write_results(results_table(results[::-1]), again)
    assert again.read_bytes() == file.read_bytes()
    pd.testing.assert_frame_equal(read_results(file), table)
    write_results(read_results(file), again)
    assert again.read_bytes() == file.read_bytes()
    noted = pq.read_schema(file).metadata
    assert noted == {b"fer": fer_cli.__version__.encode(), b"fer_benchmark": str(VERSION).encode()}


def test_an_empty_table_can_be_stored(tmp_path):
    write_results(results_table([]), tmp_path / RESULTS)
    assert read_results(tmp_path / RESULTS).empty


def test_names_that_are_no_text_are_stored_escaped(tmp_path):
    cell = made_cell(test="caf\udce9", train=("caf\udce9",))
    write_results(results_table([made_result(cell)]), tmp_path / RESULTS)
    assert set(read_results(tmp_path / RESULTS)["test"]) == {"caf\\xe9"}


def test_what_was_there_stays_where_writing_fails(table, file, monkeypatch):
    before = file.read_bytes()

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", fail)
    with pytest.raises(FerError, match="disk is full"):
        write_results(table, file)
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_a_table_of_another_version_is_refused_with_what_to_type(file):
    rewritten(file, fer_benchmark="99", fer="7.0")
    with pytest.raises(FerError, match=r"version 99, written by fer 7\.0") as raised:
        read_results(file)
    assert "fer benchmark SPEC.toml" in raised.value.hint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda stored: stored.drop_columns(["neutral"]), "lacks the column 'neutral'"),
        (lambda stored: stored.append_column("neutral", stored["neutral"]), "a column twice"),
        (lambda stored: stored.set_column(4, "test", pa.array(range(len(stored)))), "in the column 'test' where text"),
        (lambda stored: stored.set_column(6, "repeat", stored["test"]), "'repeat' where whole numbers"),
        (lambda stored: stored.set_column(16, "chance", stored["test"]), "'chance' where numbers"),
        (lambda stored: pa.concat_tables([stored, stored]), "has a cell twice"),
        (lambda stored: stored.set_column(5, "neutral", stored["test"]), "in the column 'neutral', not none, mean"),
    ],
)
def test_a_table_that_is_not_as_fer_writes_it_is_refused(file, change, message):
    stored = pq.read_table(file)
    assert [stored.column_names[place] for place in (4, 5, 6, 16)] == ["test", "neutral", "repeat", "chance"]
    with pytest.raises(FerError, match=message):
        read_results(rewritten(file, change))


def test_a_table_of_another_program_is_refused(tmp_path):
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(FerError, match="not a table of results that fer wrote"):
        read_results(tmp_path / "other.parquet")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"recipe,test\n", b"PAR1" + bytes(range(256)) * 4 + b"PAR1"])
def test_a_file_that_is_no_parquet_is_refused(tmp_path, content):
    path = tmp_path / RESULTS
    path.write_bytes(content)
    with pytest.raises(FerError, match="cannot be read as a benchmark's results"):
        read_results(path)


def test_a_damaged_file_is_an_error_or_a_table_and_nothing_else(file):
    whole = file.read_bytes()
    generator = np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        damaged = bytearray(whole)
        for place in generator.integers(0, len(whole), 8):
            damaged[place] = generator.integers(256)
        file.write_bytes(damaged[: generator.integers(len(whole) // 2, len(whole) + 1)])
        try:
            read_results(file)
        except FerError:
            refused += 1
    assert refused > 30


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / RESULTS)
    for path in (tmp_path / RESULTS, tmp_path, tmp_path / "absent.parquet"):
        with pytest.raises(FerError, match="cannot be read"):
            read_results(path)


@pytest.mark.parametrize(
    ("limit", "message"),
    [("MAX_FILE", "larger than"), ("MAX_ROWS", "rows, more than"), ("MAX_LETTERS", "more text than")],
)
def test_a_file_that_would_fill_the_memory_is_refused(file, monkeypatch, limit, message):
    read_results(file)
    monkeypatch.setattr(module, limit, 50)
    with pytest.raises(FerError, match=message):
        read_results(file)


def test_a_text_that_all_rows_share_counts_in_each(file, monkeypatch):
    # Stored once, such a text takes few bytes in the file and as many more in memory as there are rows.
    def inflated(stored):
        return stored.set_column(11, "reason", pa.array(["x" * 1000] * len(stored)))

    rewritten(file, inflated)
    assert file.stat().st_size < 100_000
    monkeypatch.setattr(module, "MAX_LETTERS", 1000 * (pq.read_metadata(file).num_rows - 1))
    with pytest.raises(FerError, match="more text than"):
        read_results(file)


def test_a_metric_that_an_earlier_table_did_not_have_is_missing(file):
    found = read_results(rewritten(file, lambda stored: stored.drop_columns(["kappa", "kappa_low", "kappa_high"])))
    assert found["kappa"].isna().all()
    assert found["accuracy"].notna().any()


def test_every_cell_is_compared_with_an_earlier_one():
    kept, better, broken, back, new, lost, worse = (
        made_cell(name) for name in ("kept", "better", "broken", "back", "new", "lost", "worse")
    )
    changed_inputs = made_cell("worse", settings={"epochs": 3})
    assert changed_inputs.digest != worse.digest
    before = results_table(
        [
            *(made_result(cell, 0.5, folds=2) for cell in (kept, better, broken, lost, worse)),
            made_result(back, reason="out of memory"),
        ]
    )
    now = results_table(
        [
            *(made_result(cell, 0.5, folds=2) for cell in (kept, back, new)),
            *(made_result(better, 0.9), made_result(changed_inputs, 0.49), made_result(broken, reason="diverged")),
        ]
    )
    found = against(now, before).set_index("recipe")
    assert found["change"].to_dict() == {
        "kept": "same",
        "better": "changed",
        "worse": "changed",
        "broken": "failed",
        "back": "done",
        "new": "new",
        "lost": "lost",
    }
    assert found.loc["better", "difference"] == pytest.approx(0.4)
    assert found.loc["worse", "difference"] == pytest.approx(-0.01)
    assert found.loc["kept", "difference"] == 0
    assert found["difference"].isna().sum() == 4
    assert found["apart"].to_dict() == {name: name == "better" for name in found.index}
    assert found.loc["better", "same_inputs"]
    assert not found.loc["worse", "same_inputs"]
    assert against(now, now)["change"].isin(["same"]).all()


def test_repeats_seeds_and_neutral_accesses_are_cells_of_their_own():
    cells = [made_cell(), made_cell(repeat=1), made_cell(seed=1), made_cell(neutral="given")]
    cells += [made_cell(evaluation="learning-curve", train_subjects=count) for count in (5, 10)]
    before = results_table([made_result(cell, 0.5) for cell in cells])
    now = results_table([made_result(cell, 0.5 + 0.01 * place) for place, cell in enumerate(cells)])
    found = against(now, before)
    assert sorted(found["difference"].round(6)) == [0, 0.01, 0.02, 0.03, 0.04, 0.05]
