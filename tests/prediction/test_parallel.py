import threading
from concurrent.futures import Future
from itertools import islice, pairwise

import pytest

from fer_cli.prediction.parallel import AHEAD, BEGUN, ThreadedMap, _awaited


def test_results_come_in_the_order_of_the_items_however_long_each_takes():
    gate = threading.Event()

    def work(number: int) -> int:
        # The first cannot end before the third has begun.
        if number == 0:
            assert gate.wait(10)
        if number == 2:
            gate.set()
        return number * number

    with ThreadedMap(2) as threads:
        assert list(threads.in_order(work, range(10))) == [number * number for number in range(10)]


def test_items_are_not_read_far_ahead_of_the_work():
    read = []
    held = threading.Event()

    def items():
        for number in range(10_000):
            read.append(number)
            yield number

    with ThreadedMap(2) as threads:
        results = threads.in_order(lambda number: held.wait(10) and number, items())
        # All threads wait: no more is read than may be begun, one that waits for room, and one in hand.
        threading.Timer(0.3, held.set).start()
        assert next(results) == 0
        assert len(read) <= (AHEAD + BEGUN) * 2 + 2
        results.close()
    assert len(read) < 200


@pytest.mark.parametrize("together", [1, 2, 5])
def test_what_an_item_or_its_work_raises_is_raised_in_its_turn(together):
    def items():
        yield from (1, 2)
        raise OSError("no more")

    with ThreadedMap(2) as threads:
        results = threads.in_order(lambda number: 1 / (number - 2), items(), together=together)
        assert next(results) == -1
        with pytest.raises(ZeroDivisionError):
            next(results)
        results = threads.in_order(abs, items(), together=together)
        assert [next(results), next(results)] == [1, 2]
        with pytest.raises(OSError, match="no more"):
            next(results)


@pytest.mark.parametrize("together", [1, 3, 4, 20])
def test_items_in_groups_come_one_by_one_and_each_group_is_one_threads(together):
    with ThreadedMap(2) as threads:
        found = list(threads.in_order(lambda number: (number, threading.get_ident()), range(10), together=together))
    assert [number for number, _ in found] == list(range(10))
    assert all(one == other for (place, one), (_, other) in pairwise(found) if (place + 1) % together)


def test_whoever_waits_is_told_that_nothing_has_come():
    more = threading.Event()

    def items():
        yield 1
        more.wait(10)
        yield 2

    with ThreadedMap(1) as threads:
        results = threads.in_order(abs, items(), ticks=True)
        assert next(results) == 1
        assert next(results) is None
        more.set()
        assert [result for result in results if result is not None] == [2]


def test_threads_of_torch_and_opencv_are_as_before_afterwards():
    import cv2
    import torch

    before = torch.get_num_threads(), cv2.getNumThreads()
    with ThreadedMap(1):
        assert (torch.get_num_threads(), cv2.getNumThreads()) == (1, 1)
    assert (torch.get_num_threads(), cv2.getNumThreads()) == before


class JustDone(Future):
    """Done between the end of a wait for its result and the next look at it, as on a busy machine."""

    def result(self, timeout: float | None = None) -> str:
        if timeout is not None and not self.done():
            self.set_result("late")
            raise TimeoutError
        return super().result(timeout)


def test_a_result_that_comes_just_after_the_wait_for_it_has_ended_is_no_error():
    future = JustDone()
    awaited = _awaited(future, True)
    assert next(awaited) is None
    if not future.done():
        future.set_result("late")
    assert list(islice(awaited, 2)) == ["late"]


def test_a_timeout_of_the_work_itself_is_one():
    def work(item: int) -> None:
        raise TimeoutError("the server says nothing")

    with ThreadedMap(1) as threads, pytest.raises(TimeoutError, match="the server"):
        list(threads.in_order(work, [1], ticks=True))
