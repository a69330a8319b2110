"""Run a panel's computations in threads, beside the one that answers its controls."""

import html
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import ipywidgets as widgets

from defusion_lib.stopping import Stopped, stoppable

BUSY_DELAY = 0.5  # seconds before the status names a running computation
QUESTION_DELAY = 10.0  # seconds before the panel asks whether to go on


class Callbacks:
    """The callbacks of one panel, one at a time; `problems` shows the traceback of each one that raised."""

    def __init__(self):
        self.problems = widgets.Output()
        self._lock = threading.RLock()

    def wrap(self, callback: Callable[[], None]) -> Callable[..., None]:
        """Return a function for `observe`, `on_click` and threads that calls `callback()`, whatever it is given."""

        def called(*_):
            with self._lock:
                try:
                    callback()
                except Exception:
                    self.report()

        return called

    def report(self) -> None:
        """Show the traceback of the error that is being handled."""
        self.problems.append_stderr(traceback.format_exc())


class BackgroundTask:
    """One computation at a time in a thread, of which only the newest counts.

    A running computation that was stopped or replaced ends at its next `stopping.tick`; without ticks it runs to its
    end, and its result is dropped. One that waits for its turn never begins. `box` holds a stop button, a line of text
    and, for a long computation, a question. The button calls `stopped`. Callbacks run through `callbacks`, never two at
    once.
    """

    def __init__(self, callbacks: Callbacks, stopped: Callable[[], None] = lambda: None):
        self._callbacks, self._stopped = callbacks, stopped
        self._executor = ThreadPoolExecutor(1)
        self._newest: object | None = None
        self._text = ""
        self._timers: list[threading.Timer] = []
        self.status = widgets.HTML()
        self.stop_button = widgets.Button(
            description="Stop", icon="stop", disabled=True, tooltip="drop the result and keep what is shown"
        )
        self.go_on_button = widgets.Button(description="Go on", icon="check", tooltip="wait for the result")
        self.box = widgets.HBox([self.stop_button, self.go_on_button, self.status])
        self.stop_button.on_click(callbacks.wrap(self._stop))
        self.go_on_button.on_click(callbacks.wrap(self._show_busy))
        self.drop()

    @property
    def busy(self) -> str:
        """Return the text of the computation whose result is awaited, empty where there is none."""
        return self._text if self._newest is not None else ""

    def start(self, text: str, compute: Callable[[], object], done: Callable[[object], None]) -> None:
        """Call `done(compute())` later, unless it is dropped before; `text` says what is computed."""
        self.drop()
        self._newest = work = object()
        self._text = text
        self._executor.submit(self._run, work, compute, done)
        for delay, show in ((BUSY_DELAY, self._show_busy), (QUESTION_DELAY, self._ask)):
            timer = threading.Timer(delay, self._if_newest(work, show))
            timer.daemon = True
            timer.start()
            self._timers.append(timer)

    def drop(self, message: str = "") -> None:
        """Drop the awaited result, if any, and show a message in its place."""
        self._newest = None
        while self._timers:
            self._timers.pop().cancel()
        self._show(message)

    def wait(self) -> None:
        """Return when no computation runs or waits, not even one whose result is dropped."""
        while True:
            newest = self._newest
            self._executor.submit(lambda: None).result()
            if newest is self._newest:
                return

    def _if_newest(self, work, callback):
        """Return a callback that does nothing once another computation was started, or this one was dropped."""
        return self._callbacks.wrap(lambda: callback() if work is self._newest else None)

    def _run(self, work, compute, done):
        if work is not self._newest:
            return
        try:
            with stoppable(lambda: work is not self._newest):
                result = compute()
        except Stopped:
            return
        except Exception:
            self._callbacks.report()
            self._if_newest(work, lambda: self.drop("That failed; the error is below."))()
        else:
            self._if_newest(work, lambda: (self.drop(), done(result)))()

    def _show_busy(self):
        self._show(self._text, busy=True)

    def _ask(self):
        self._show(f"{self._text} This takes long: go on or stop?", busy=True, question=True)

    def _show(self, text, busy=False, question=False):
        bar = '<progress aria-label="computing"></progress> ' if busy else ""
        self.status.value = f'<span role="status">{bar}{html.escape(text)}</span>' if text else ""
        self.stop_button.disabled = not busy
        self.go_on_button.layout.display = None if question else "none"

    def _stop(self):
        self.drop("Stopped: what you see is from before.")
        self._stopped()
