"""Computations beside the controls: only the newest result counts, long ones ask, errors are seen."""

import threading

import pytest

from defusion_lib.apps.explorer import worker
from defusion_lib.apps.explorer.worker import BackgroundTask, Callbacks
from defusion_lib.stopping import tick


@pytest.fixture
def told():
    return []


@pytest.fixture
def task(told):
    return BackgroundTask(Callbacks(), lambda: told.append("stopped"))


@pytest.fixture
def gate():
    """A computation that runs from `begun` until `open` is set."""

    class Gate:
        def __init__(self):
            self.begun, self.open = threading.Event(), threading.Event()

        def __call__(self):
            self.begun.set()
            assert self.open.wait(60)
            return "of the gate"

    gate = Gate()
    yield gate
    gate.open.set()


def problems(task):
    return task._callbacks.problems.outputs


def test_a_result_and_an_error_arrive(task, told):
    task.start("adding", lambda: 1 + 1, told.append)
    task.wait()
    assert told == [2] and task.busy == "" and problems(task) == ()
    task.start("dividing", lambda: 1 / 0, told.append)
    task.wait()
    assert told == [2]
    assert "ZeroDivisionError" in problems(task)[0]["text"]
    assert "That failed" in task.status.value and task.busy == ""


def test_the_result_of_a_replaced_computation_never_appears(task, told, gate):
    task.start("first", gate, told.append)
    assert gate.begun.wait(60)
    task.start("second", lambda: "second", told.append)
    assert task.busy == "second"
    gate.open.set()
    task.wait()
    assert told == ["second"]


def test_the_result_of_a_stopped_computation_never_appears(task, told, gate):
    task.start("first", gate, told.append)
    assert gate.begun.wait(60)
    task.stop_button.click()
    assert "Stopped" in task.status.value and task.busy == "" and told == ["stopped"]
    gate.open.set()
    task.wait()
    assert told == ["stopped"] and "Stopped" in task.status.value and "<progress" not in task.status.value
    task.start("later", lambda: "later", told.append)
    task.wait()
    assert told == ["stopped", "later"]


@pytest.mark.parametrize("how", ["stopped", "replaced", "neither"])
def test_a_computation_that_ticks_ends_when_it_is_stopped_or_replaced(task, told, gate, how):
    def compute():
        gate()
        tick()
        told.append("went on")
        return "result"

    task.start("first", compute, told.append)
    assert gate.begun.wait(60)
    if how == "stopped":
        task.stop_button.click()
    elif how == "replaced":
        task.start("second", lambda: "second", told.append)
    gate.open.set()
    task.wait()
    assert told == {"stopped": ["stopped"], "replaced": ["second"], "neither": ["went on", "result"]}[how]
    assert problems(task) == ()


def test_the_error_of_a_replaced_computation_leaves_the_newer_one_alone(task, told, gate):
    def fail():
        gate()
        raise RuntimeError("of the first")

    task.start("first", fail, told.append)
    assert gate.begun.wait(60)
    task.start("second", lambda: "second", told.append)
    gate.open.set()
    task.wait()
    assert told == ["second"] and task.status.value == ""
    assert "of the first" in problems(task)[0]["text"]


def test_what_was_replaced_before_its_turn_is_never_computed(task, told, gate):
    computed = []
    task.start("first", gate, told.append)
    assert gate.begun.wait(60)
    for number in range(5):
        task.start(f"number {number}", lambda number=number: computed.append(number) or number, told.append)
    gate.open.set()
    task.wait()
    assert computed == told == [4]


def test_two_tasks_do_not_wait_for_each_other(task, told, gate):
    task.start("first", gate, told.append)
    assert gate.begun.wait(60)
    other = BackgroundTask(task._callbacks)
    other.start("of the other task", lambda: "other", told.append)
    other.wait()
    assert told == ["other"] and task.busy == "first"


def states(task, monkeypatch, busy, question):
    """Set the delays; give the events of the busy line and of the question."""
    monkeypatch.setattr(worker, "BUSY_DELAY", busy)
    monkeypatch.setattr(worker, "QUESTION_DELAY", question)
    shown, asked = threading.Event(), threading.Event()
    task.status.observe(lambda change: "<progress" in change["new"] and shown.set(), "value")
    task.go_on_button.layout.observe(lambda change: change["new"] != "none" and asked.set(), "display")
    return shown, asked


def test_a_long_computation_is_named_and_a_short_one_is_not(task, gate, monkeypatch):
    shown, asked = states(task, monkeypatch, 0.01, 60)
    task.start("long work", gate, lambda _: None)
    assert shown.wait(60)
    assert "long work" in task.status.value and not task.stop_button.disabled
    assert '<progress aria-label="computing">' in task.status.value
    gate.open.set()
    task.wait()
    assert task.status.value == "" and task.stop_button.disabled
    monkeypatch.setattr(worker, "BUSY_DELAY", 60)
    shown.clear()
    task.start("short work", lambda: None, lambda _: None)
    task.wait()
    assert not shown.is_set() and not asked.is_set()


@pytest.mark.parametrize("answer", ["go on", "stop", "none"])
def test_a_longer_one_asks_whether_to_go_on(task, told, gate, monkeypatch, answer):
    _, asked = states(task, monkeypatch, 0.01, 0.02)
    assert task.go_on_button.layout.display == "none"
    task.start("long work", gate, told.append)
    assert asked.wait(60)
    with task._callbacks._lock:
        assert "long work" in task.status.value and "go on or stop?" in task.status.value
    if answer == "go on":
        task.go_on_button.click()
        assert "go on or stop?" not in task.status.value and "long work" in task.status.value
    elif answer == "stop":
        task.stop_button.click()
    gate.open.set()
    task.wait()
    assert told == (["stopped"] if answer == "stop" else ["of the gate"])
    assert task.go_on_button.layout.display == "none"


def test_an_error_in_a_callback_can_be_seen():
    callbacks = Callbacks()
    callbacks.wrap(lambda: 1 / 0)("a change")
    (output,) = callbacks.problems.outputs
    assert output["name"] == "stderr" and "ZeroDivisionError" in output["text"]
