"""One training in two processes on the CPU, as torchrun starts them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fer_cli import distributed
from fer_cli.distributed import broadcast, busy_cores, is_main_process, main_process_first, own_device, world_size
from fer_cli.runs.run import CrossValidation
from tests.made import made_model


def test_time_that_is_not_idle_is_busy(monkeypatch):
    # user nice system idle iowait irq softirq steal, in hundredths of seconds: of 200 ticks of 2 cores half are busy.
    ticks = iter([(100, 1000), (200, 1200)])
    monkeypatch.setattr(distributed, "_ticks", lambda: next(ticks))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert busy_cores(0) == 1.0


def torchrun(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess:
    # A rendezvous at a port that is free, so that tests may run side by side.
    launch = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d")
    line = [sys.executable, *launch, "--rdzv-endpoint", "localhost:0", "-m", "fer_cli", *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "160"}
    return subprocess.run(line, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_two_processes_train_every_fold_of_both_stages(made, tmp_path):
    made_model(features="target").save_pretrained(tmp_path / "encoder")
    words = ("train", "disentangled", "--encoder", "encoder", "--identity", "encoder", "--epochs", "1", "--cv")
    done = torchrun(*words, "--batch-size", "3", "--device", "cpu", "--logger", "none", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = CrossValidation.open(tmp_path / "runs" / "disentangled-made-cv")
    assert [run.fold for run in result.runs] == [0, 1, 2]
    assert done.stdout.count("over 3 folds") == 1


@pytest.mark.parametrize(("rank", "times"), [("0", 1), ("1", 0)])
def test_what_goes_wrong_in_two_processes_is_said_by_the_first(rank, times, tmp_path):
    environment = {**os.environ, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "RANK": rank, "LOCAL_RANK": rank}
    line = [sys.executable, "-m", "fer_cli", "export", "nowhere"]
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stderr.count("no folder nowhere") == times


def test_alone_nothing_is_shared(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.delenv("RANK", raising=False)
    cpu = torch.device("cpu")
    assert world_size() == 1
    assert is_main_process()
    assert broadcast("run", cpu) == "run"
    assert main_process_first(lambda: 7, cpu) == 7
    assert own_device(torch.device("cuda", 3)) == torch.device("cuda", 3)


@pytest.mark.parametrize(("chosen", "expected"), [("cuda:0", "cuda:1"), ("cpu", "cpu")])
def test_each_of_several_processes_has_a_gpu_of_its_own(monkeypatch, chosen, expected):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert own_device(torch.device(chosen)) == torch.device(expected)
