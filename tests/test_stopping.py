"""A computation ends at its next tick after it was asked to, and only where somebody may ask."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from defusion_lib.stopping import Stopped, stoppable, stoppable_in_threads, tick


def test_a_tick_does_nothing_where_nobody_asks():
    tick()
    with stoppable(lambda: False):
        tick()
    with pytest.raises(Stopped, match=r"^The computation was stopped\.$"), stoppable(lambda: True):
        tick()
    tick()  # what was asked ends with its block


def test_ticks_of_other_computations_go_on():
    with stoppable(lambda: True), ThreadPoolExecutor(1) as pool:
        pool.submit(tick).result()
        with stoppable(lambda: False):
            tick()
        with pytest.raises(Stopped):
            tick()


def test_threads_of_a_computation_end_with_it():
    stop, rounds = threading.Event(), []

    def work(number):
        for _ in range(3):
            tick()
            rounds.append(number)
            stop.set()

    with stoppable(stop.is_set), ThreadPoolExecutor(1) as pool:
        done = [pool.submit(stoppable_in_threads(work), number) for number in range(3)]
        assert all(isinstance(each.exception(60), Stopped) for each in done)
    assert rounds == [0]
