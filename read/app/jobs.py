"""One thing at a time: a line of jobs, and one thread that does them in turn."""

import subprocess
import threading
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any

from read.encoders.program import on_start
from read.errors import InputError

UNEXPECTED = "Something went wrong here that is no fault of the video; the terminal that serves this page says what."


class Cancelled(Exception):  # noqa: N818 - no error: somebody has gone
    """Raised inside a job that nobody waits for any more."""


class Job:
    """Something to be done. `state` goes from "waiting" over "running" to "done" or "failed".

    Args:
        work: gets the job, and tells it of its progress.
        patience: seconds that it may take, and what is said when they are over; None: as long as it likes.
    """

    def __init__(self, work: Callable[["Job"], Any], patience: tuple[float, str] | None = None) -> None:
        self.state = "waiting"
        self.done, self.total = 0.0, None  # seconds of video
        self.result: Any = None
        self.error = ""
        self._work = work
        self._patience = patience
        self._cancelled, self._late = threading.Event(), threading.Event()
        self._processes: list[subprocess.Popen[bytes]] = []

    def cancel(self) -> None:
        """Let the job end at its next sign of progress, or never begin; its programs end at once."""
        self._cancelled.set()
        self._kill()

    def progress(self, done: float, total: float | None = None) -> None:
        """Note how far the job is.

        Raises:
            Cancelled: nobody waits for it any more.
        """
        if self._cancelled.is_set():
            raise Cancelled
        if self._late.is_set():
            raise InputError(self._patience[1])
        self.done, self.total = done, total

    def run(self) -> None:
        """Do it; what it raises becomes its error, a sentence."""
        self.state = "running"
        watch, timer = on_start.set(self._adopt), None
        if self._patience:
            timer = threading.Timer(self._patience[0], self._expire)
            timer.start()
        try:
            self.progress(0.0)
            result = self._work(self)
            self.progress(self.done, self.total)
            self.result, self.state = result, "done"
        except Exception as error:
            self.error, self.state = self._sentence(error), "failed"
        finally:
            on_start.reset(watch)
            if timer:
                timer.cancel()

    def _sentence(self, error: Exception) -> str:
        """What is said of an error; one that comes of the end of a killed program is none of the video's."""
        if isinstance(error, Cancelled) or self._cancelled.is_set():
            return "This video was removed."
        if self._late.is_set():
            return self._patience[1]
        if isinstance(error, InputError):
            return str(error)
        traceback.print_exception(error)
        return UNEXPECTED

    def _expire(self) -> None:
        self._late.set()
        self._kill()

    def _adopt(self, process: subprocess.Popen[bytes]) -> None:
        """Note a program that works for this job."""
        self._processes = [*(old for old in self._processes if old.poll() is None), process]
        if self._cancelled.is_set() or self._late.is_set():
            self._kill()

    def _kill(self) -> None:
        for process in self._processes:
            process.kill()


class Line:
    """Jobs that wait, and the thread that does one after the other, in the order in which they came."""

    def __init__(self) -> None:
        self._waiting: deque[Job] = deque()
        self._running: Job | None = None
        self._change = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._go, name="encoding", daemon=True)
        self._thread.start()

    def add(self, job: Job, *, first: bool = False) -> Job:
        """Put a job at the end, or before all that wait."""
        with self._change:
            (self._waiting.appendleft if first else self._waiting.append)(job)
            self._change.notify()
        return job

    def first(self, job: Job) -> None:
        """Let a job that waits be the next."""
        with self._change:
            if job in self._waiting:
                self._waiting.remove(job)
                self._waiting.appendleft(job)

    @property
    def at_work(self) -> bool:
        """Whether a job is running or waits."""
        with self._change:
            return self._running is not None or bool(self._waiting)

    def before(self, job: Job) -> int:
        """How many jobs come first, the running one among them."""
        with self._change:
            if job not in self._waiting:
                return 0
            return self._waiting.index(job) + (self._running is not None)

    def cancel(self, job: Job) -> None:
        """Take a job out of the line, or have it end at its next sign of progress."""
        with self._change:
            job.cancel()
            if job in self._waiting:
                self._waiting.remove(job)

    def close(self, patience: float = 5.0) -> None:
        """Cancel everything, and wait up to `patience` seconds for the running job to notice."""
        with self._change:
            self._closed = True
            self._waiting.clear()
            if self._running is not None:
                self._running.cancel()
            self._change.notify()
        self._thread.join(patience)

    def _go(self) -> None:
        while True:
            with self._change:
                self._running = None
                self._change.wait_for(lambda: self._closed or self._waiting)
                if self._closed:
                    return
                job = self._running = self._waiting.popleft()
            job.run()
