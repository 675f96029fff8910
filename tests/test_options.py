"""Options are checked against the bounds that their fields declare."""

from dataclasses import dataclass
from typing import Annotated

import pytest
from annotated_types import Ge, Interval

from fer_cli.errors import UsageError
from fer_cli.options import bounds, check_bounds


@dataclass
class Options:
    batch_size: Annotated[int, Ge(2)] = 32
    warmup: Annotated[float, Interval(ge=0, lt=1)] = 0.1
    size: Annotated[int | None, Ge(32)] = None

    def __post_init__(self):
        check_bounds(self)


def test_bounds_are_those_of_the_fields():
    assert set(bounds(Options)) == {"batch_size", "warmup", "size"}
    Options(batch_size=2, warmup=0, size=32)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("batch_size", 1, "--batch-size 1: a number of at least 2 is needed"),
        ("warmup", 1.0, "--warmup 1.0: a number of less than 1 is needed"),
        ("warmup", float("nan"), "--warmup nan"),
        ("size", 31, "--size 31"),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_its_option(field, value, said):
    with pytest.raises(UsageError, match=said):
        Options(**{field: value})
