import pytest
import torch

from fer_cli.errors import UsageError
from fer_cli.models import device
from fer_cli.models.device import available_devices, choose_device, device_name

CPU = torch.device("cpu")


def test_the_cpu_is_always_there():
    assert available_devices()[0] == CPU
    assert choose_device("cpu") == CPU
    assert device_name(CPU).startswith("CPU (")


def test_auto_takes_the_first_gpu_where_there_is_one(monkeypatch):
    monkeypatch.setattr(device, "available_devices", lambda: [CPU])
    assert choose_device("auto") == CPU
    two = [CPU, torch.device("cuda", 0), torch.device("cuda", 1)]
    monkeypatch.setattr(device, "available_devices", lambda: two)
    assert choose_device("auto") == choose_device("cuda") == choose_device("CUDA:0") == two[1]
    assert choose_device("cuda:1") == two[2]


@pytest.mark.parametrize("wanted", ["gpu", "cuda:", "cuda:x", "cpu:1", ""])
def test_what_is_no_device_is_a_typing_error(wanted):
    with pytest.raises(UsageError):
        choose_device(wanted)


def test_a_device_that_is_not_here_is_refused_with_those_that_are(monkeypatch):
    monkeypatch.setattr(device, "available_devices", lambda: [CPU])
    with pytest.raises(UsageError) as caught:
        choose_device("cuda:3")
    assert "cpu" in caught.value.message
    assert "--device auto" in caught.value.hint
