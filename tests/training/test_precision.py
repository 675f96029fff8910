import pytest
import torch

from fer_cli.errors import UsageError
from fer_cli.models.device import choose_precision, has_tf32

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.mark.parametrize(("amx", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_a_processor_computes_bfloat16_only_with_amx(monkeypatch, amx, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": amx, "avx512_bf16": True})
    assert choose_precision("auto", CPU) == expected


@pytest.mark.parametrize(
    ("able", "capability", "expected"),
    [
        (True, (8, 0), "bfloat16"),
        # T4 and V100 have units for float16; Pascal's float16 is slower than its float32.
        (False, (7, 5), "float16"),
        (False, (7, 0), "float16"),
        (False, (6, 1), "float32"),
    ],
)
def test_a_gpu_computes_in_the_half_precision_that_it_has(monkeypatch, able, capability, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: able)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert choose_precision("auto", GPU) == expected


@pytest.mark.parametrize(("able", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_intels_gpus_compute_bfloat16_where_they_have_it(monkeypatch, able, expected):
    monkeypatch.setattr(torch.xpu, "is_bf16_supported", lambda including_emulation=True: able or including_emulation)
    assert choose_precision("auto", torch.device("xpu", 0)) == expected


def test_apples_gpus_compute_float32():
    assert choose_precision("auto", torch.device("mps", 0)) == "float32"


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
