"""The benchmark of GPUs: time shared out, parts that fail or take too long, rates of steps, and the table."""

import json
import re
import sys

import psutil
import pytest
import torch

from benchmarks import gpu
from benchmarks.budget import LEAST, Part, Row, append, markdown, run_parts, run_process, share, write_table
from benchmarks.gpu_equality import difference
from benchmarks.gpu_speed import Measured, Rate, training
from tests.made import made_dataset

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


class Clock:
    """A clock that only moves when a part takes its time."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def launched(parts, seconds, takes):
    """The seconds that each part was given, by name, and the rows; a part takes what ``takes`` has, or all it may."""
    clock, given = Clock(), {}

    def launch(part, limit):
        given[part.name] = limit
        clock.now += min(limit, takes.get(part.name, limit))
        return [Row(part.name, "done", 1.0)]

    return given, list(run_parts(parts, launch, clock.now + seconds, clock))


def test_time_is_shared_by_weight_and_never_overdrawn():
    parts = [Part("a", 1), Part("b", 2), Part("c", 1)]
    given, rows = launched(parts, 400, {})
    assert given == pytest.approx({"a": 100, "b": 200, "c": 100})
    assert [row.part for row in rows] == ["a", "b", "c"]


def test_what_a_part_does_not_use_is_left_to_the_others():
    given, _ = launched([Part("a"), Part("b"), Part("c")], 300, {"a": 20, "b": 60})
    assert given == pytest.approx({"a": 100, "b": 140, "c": 220})


def test_a_refused_part_has_no_share_and_says_why():
    given, rows = launched([Part("a"), Part("b", refused="there is one GPU"), Part("c")], 200, {})
    assert given == pytest.approx({"a": 100, "c": 100})
    assert [row.note for row in rows] == ["", "not run: there is one GPU", ""]


def test_parts_without_time_are_rows():
    given, rows = launched([Part(name) for name in "abcd"], 2.5 * LEAST, {})
    assert given == pytest.approx({"a": LEAST, "b": LEAST})
    assert [row.note for row in rows] == ["", "", *["not run: no time left"] * 2]


@pytest.mark.parametrize(("left", "expected"), [(0, 0), (-5, 0), (LEAST - 1, 0), (LEAST, LEAST), (400, 100)])
def test_a_share_is_a_quarter_but_worth_beginning(left, expected):
    assert share(left, [1, 2, 1]) == expected


def process(tmp_path, code, seconds=60.0):
    arguments = [sys.executable, "-c", code, str(tmp_path / "rows.jsonl")]
    return run_process(Part("part"), arguments, tmp_path / "rows.jsonl", tmp_path / "log", seconds)


def test_a_part_that_fails_keeps_its_rows_and_ends_with_the_reason(tmp_path):
    code = (
        "import sys\n"
        'open(sys.argv[1], \'w\').write(\'{"part": "part", "what": "first", "value": 2.5}\\n\')\n'
        "print('nearly there')\n"
        "raise RuntimeError('out of\\n  memory')"
    )
    assert process(tmp_path, code) == [Row("part", "first", 2.5), Row("part", note="failed: RuntimeError: out of")]


def test_the_reason_is_the_process_that_failed_first(tmp_path):
    code = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'raise ValueError(7)'], check=True)"
    assert process(tmp_path, code)[-1].note == "failed: ValueError: 7"
    silent = process(tmp_path, "import os; os._exit(3)")
    assert silent == [Row("part", note="failed: it printed nothing")]


def test_a_part_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path):
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
        'open(sys.argv[1], \'w\').write(\'{"part": "part", "what": "\' + str(child.pid) + \'"}\\n{"pa\')\n'
        "time.sleep(600)"
    )
    first, last = process(tmp_path, code, seconds=4)
    assert last.note == "ended after 4 s, its share of the time"
    assert not psutil.pid_exists(int(first.what)) or psutil.Process(int(first.what)).status() == "zombie"


def test_rows_of_an_earlier_attempt_do_not_count(tmp_path):
    append(tmp_path / "rows.jsonl", Row("part", "old"))
    assert process(tmp_path, "") == []


def test_the_table_is_headed_by_the_machine_and_reads_back(tmp_path):
    rows = [
        Row("training, bfloat16", "fer | example", 1234.5, "images/s", "9 to\n10"),
        Row("equality", "loss", 2.5e-7, "absolute", "tolerance 0.001", equal=True),
        Row("equality", "gradients", 0.25, "relative", equal=False),
        Row("stage 1", note="not run: no time left"),
    ]
    path = write_table(tmp_path, "fer on a GPU", {"card": "A", "driver": "1.2"}, rows)
    lines = path.read_text().splitlines()
    assert lines[:5] == ["# fer on a GPU", "", "- card: A", "- driver: 1.2", ""]
    assert lines[7:] == [
        "| training, bfloat16 | fer \\| example | 1,234 | images/s | 9 to 10 |",
        "| equality | loss | 2.5e-07 | absolute | equal; tolerance 0.001 |",
        "| equality | gradients | 2.5e-01 | relative | **differs** |",
        "| stage 1 |  |  |  | not run: no time left |",
    ]
    facts, *stored = map(json.loads, (tmp_path / "rows.jsonl").read_text().splitlines())
    assert facts == {"facts": {"card": "A", "driver": "1.2"}}
    assert [Row(**row) for row in stored] == rows
    assert markdown("fer on a GPU", facts["facts"], rows) == path.read_text()


def measured(durations, **settings):
    """The rate of steps of these ``durations`` in seconds, and how many of them were needed."""
    clock = Clock()
    rate = Rate(64, CPU, clock=clock, **{"warm_up": 3, "window": 2, "windows": 3, **settings})
    for done, seconds in enumerate(durations, start=1):
        clock.now += seconds
        try:
            rate.step()
        except Measured:
            return rate, done
    return rate, None


def test_steps_to_warm_up_do_not_count_and_the_median_window_does():
    rate, done = measured([30.0, 5.0, 5.0, 1.0, 1.0, 0.5, 0.5, 9.0, 9.0, 1.0])
    assert done == 9
    assert rate.rates == pytest.approx([64.0, 128.0, 64 / 9])
    assert rate.first == pytest.approx(30.0)
    row = rate.row("training", "fer", "", "a note")
    assert (row.value, row.unit) == (pytest.approx(64.0), "images/s")
    assert row.note == "a note; 7 to 128, first step after 30.0 s"


def test_slow_steps_are_measured_in_the_time_there_is():
    # 80 s allow phases of 10 s: two steps to warm up, the first of which compiles and says nothing, then one at a time.
    rate, done = measured([50.0, 12.0, 12.0, 12.0], seconds=80)
    assert done == 3
    assert rate.rates == pytest.approx([64 / 12])


def test_a_training_that_ends_early_has_the_windows_that_were_whole():
    rate, done = measured([1.0] * 6)
    assert done is None
    assert rate.rates == pytest.approx([64.0])


def test_differences_are_absolute_or_relative_to_the_norm():
    expected = torch.tensor([3.0, 4.0])
    found = torch.tensor([3.0, 4.5])
    row = difference("part", "what", found, expected, 0.4)
    assert row == Row("part", "what", 0.5, "absolute", "tolerance 0.4", equal=False)
    row = difference("part", "what", found, expected, 0.1, relative=True)
    assert (row.value, row.unit, row.equal) == (pytest.approx(0.1), "relative", True)
    assert difference("part", "what", found * torch.nan, expected, 9.0).equal is False


def test_precisions_that_a_device_has_not_are_refused(monkeypatch):
    def refused(device):
        return {name for name in gpu.MEASURES if gpu.refusal(name, device)}

    half, tf32 = {"training, float16"}, {"training, tf32", "training, tf32, compiled"}
    bfloat16 = {"training, bfloat16", "training, bfloat16, compiled"}
    assert refused(CPU) == half | tf32
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(gpu, "available_devices", lambda: [CPU, GPU])
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    assert refused(GPU) == {"two processes"}
    monkeypatch.setattr(gpu, "available_devices", lambda: [CPU, GPU, torch.device("cuda", 1)])
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 0))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert refused(GPU) == bfloat16 | tf32


def test_without_a_gpu_it_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit, match=r"There is no GPU that torch .* sees") as caught:
        gpu.main()
    # A text for a code is printed, and the code is 1.
    assert "--device cpu --small" in caught.value.code
    assert not (tmp_path / "out").exists()


def test_a_training_is_measured_next_to_transformers(tmp_path):
    made_dataset(tmp_path / "data" / "repeated", subjects=24)
    own, *others = training(gpu.Job(CPU, tmp_path, small=True), "float32")
    assert [row.what for row in (own, *others)][:2] == ["fer train vit-se", "transformers' example, 0 workers"]
    assert len(others) == 2
    assert all(row.value > 0 and row.part == "training, float32" for row in (own, *others))
    for row in others:
        ratio = float(re.match(r"fer has ([\d.]+) times its rate", row.note)[1])
        assert ratio == pytest.approx(own.value / row.value, abs=0.006)


def test_a_part_whose_input_is_missing_is_a_row(tmp_path):
    gpu.measure("embeddings", gpu.Job(CPU, tmp_path, small=True), tmp_path / "rows.jsonl")
    row = json.loads((tmp_path / "rows.jsonl").read_text())
    assert row["part"] == "embeddings"
    assert row["value"] is None
    assert row["note"].startswith("failed: ")
    assert str(tmp_path / "data" / "repeated") in row["note"]
