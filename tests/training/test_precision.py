import pytest
import torch

from fer_cli.errors import UsageError
from fer_cli.training.precision import choose_precision, has_tf32

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.mark.parametrize(("amx", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_a_processor_computes_bfloat16_only_with_amx(monkeypatch, amx, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": amx, "avx512_bf16": True})
    assert choose_precision("auto", CPU) == expected


@pytest.mark.parametrize(("able", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_a_gpu_computes_bfloat16_where_it_has_it(monkeypatch, able, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: able)
    assert choose_precision("auto", GPU) == expected


@pytest.mark.parametrize("wanted", ["float32", "bfloat16"])
def test_what_is_asked_for_is_done(wanted):
    assert choose_precision(wanted, CPU) == wanted


def test_a_processor_does_not_train_in_float16():
    assert choose_precision("float16", GPU) == "float16"
    with pytest.raises(UsageError, match="float16"):
        choose_precision("float16", CPU)


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_tf32_is_nvidias_since_ampere(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert has_tf32(GPU) is expected
    assert not has_tf32(CPU)


def test_rocm_has_no_tf32(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    assert not has_tf32(GPU)
