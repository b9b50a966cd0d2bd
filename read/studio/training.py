"""The run that learns from the labels: the pipeline's own, as `make run` starts it, told by what it prints.

It is a process of its own, which goes on when the studio is closed or killed; the next studio finds it by its number
and the time at which it began. When it is done, what it made is packed: bundle, report and verdict, in the dataset's
cache.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from read.errors import InputError
from read.files import machine, read_json, write_json
from read.processes import birth, is_alive
from read.studio.plan import Plan, Sided, empty_plan, plan_training
from read.studio.run_log import RunLog
from read.studio.saved import refused
from read.studio.verdict import BUNDLE, REPORT, VERDICT, pack
from read.studio.working import PARAMS, ParamsFile, card_file, jobs_at_work, run_at_work

RUN, LOG = "run.json", "train.log"  # of the last run
TIMES = Path(".snakemake/seconds.json")  # rule -> mean seconds of its jobs in earlier runs
PATIENCE = 20.0  # seconds that a run has to end after each signal
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)  # the first is that of Ctrl-C
ENDED_UNTOLD = (
    "the run ended without a word, as one that was killed or found no memory does; what it had finished is kept, and "
    "training goes on from there"
)


@dataclass(frozen=True)
class StartedRun:
    """A run that the studio has started, as its cache keeps it.

    Attributes:
        pid: its process, which leads a group of its own.
        began: when that began, in seconds since its machine did.
        machine: on which, as `read.files.machine` tells it from others.
        started: when, in seconds since 1970.
        stopping: whether somebody asked it to end.
        packed: whether what it made was packed.
        failed: why it could not be.
    """

    pid: int
    began: float
    machine: str
    started: float
    stopping: bool = False
    packed: bool = False
    failed: str = ""

    @property
    def lives(self) -> bool:
        """Whether the process is there, and no other with its number."""
        return self.machine == machine() and is_alive(self.pid, self.began)


class Training:
    """Trains on the labels of a dataset, and tells of it.

    Args:
        working: the checkout of READ, where Snakefile and params.yaml are; without them nothing is trained.
        name: of the dataset, its folder in data/catalog.
        cache: a folder for what the last run printed and for what was packed of it.
        cores: of the run, as Snakemake takes them.
    """

    def __init__(self, working: Path, name: str, cache: Path, cores: int | str = "all") -> None:
        self.working, self.name, self.cache, self.cores = Path(working), name, Path(cache), str(cores)
        self._lock = threading.RLock()
        self._process: subprocess.Popen | None = None  # kept to be waited for, else it would stay as a zombie
        self._packing: threading.Thread | None = None
        self._plan: tuple[Any, Plan] | None = None  # the last one, and what it rests on

    @property
    def working_here(self) -> bool:
        """Whether a training can be started at all."""
        return not self._lacking()

    def _lacking(self) -> list[str]:
        return [file for file in ("Snakefile", PARAMS) if not (self.working / file).is_file()]

    @property
    def bundle(self) -> Path | None:
        """The bundle of the last training that came to its end; looks whether one has."""
        self._settle()
        return found if (found := self.cache / BUNDLE).is_dir() else None

    @property
    def report(self) -> Path | None:
        """The page about it."""
        return found if (found := self.cache / REPORT).is_file() else None

    def verdict(self) -> dict[str, Any] | None:
        """What it is worth; see `read.studio.verdict`."""
        with suppress(OSError, InputError):
            return read_json(self.cache / VERDICT)
        return None

    def plan(self, labels: Iterable[Sided]) -> Plan:
        """What a training would do, and whether it may begin. Raises InputError where params.yaml cannot be read."""
        labels = list(labels)
        if lacking := self._lacking():
            why = f"{self.working.resolve()} has no {' and no '.join(lacking)}; the studio trains in a checkout of READ"
            return replace(empty_plan(labels), why=why)
        found = self._planned(labels)
        if other := run_at_work(self.working):
            where = "" if other.get("machine") == machine() else f" on {other.get('host')}"
            return replace(
                found,
                why=f"a run is at work in this folder already (process {other['pid']}{where}, since "
                f"{other.get('since')}); wait for it, or end it",
            )
        return found

    def start(self, labels: Iterable[Sided]) -> None:
        """Begin, or go on where a run was stopped: what is finished is not made again.

        Raises:
            InputError: it may not begin; the message says why. Nothing is changed then.
        """
        with self._lock:
            plan = self.plan(labels)
            if plan.why:
                raise InputError(plan.why)
            if (last := self._last()) and last.lives:
                raise InputError(f"a training is at work already (process {last.pid})")
            if self._is_packing() and not (last and (last.packed or last.failed)):  # else the thread is all but gone
                raise InputError("what the last training made is being packed; wait a moment")
            with refused(self.working / PARAMS):
                if plan.changes:
                    ParamsFile(self.working).write(plan.changes)
            try:
                self._begin()
            except OSError as error:
                raise InputError(f"the training could not be started: {error}") from None

    def _begin(self) -> None:
        """Start the process. What is kept of the last run goes first: who is killed in between packs the new one."""
        run = StartedRun(0, 0.0, machine(), time.time())
        self._keep(run)
        command = [sys.executable, "-m", "snakemake", "--cores", self.cores]
        with (self.cache / LOG).open("wb") as log:
            process = subprocess.Popen(
                command, cwd=self.working, env=os.environ | {"PYTHONUNBUFFERED": "1"}, stdin=subprocess.DEVNULL,
                stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        try:
            self._keep(replace(run, pid=process.pid, began=birth(process.pid) or 0.0))
        except OSError:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            self._process = process

    def stop(self) -> None:
        """End the run as Ctrl-C does, and by stronger signals where it does not; returns at once."""
        with self._lock:
            run = self._last()
            if run is None or not run.lives or run.stopping:
                return
            self._keep(replace(run, stopping=True))
            threading.Thread(target=_end, args=(run,), daemon=True).start()

    def close(self) -> None:
        """Let go of the run, which goes on: who ends the studio is told so."""
        if (run := self._last()) and run.lives and not run.stopping:
            print(
                f"The training goes on (process {run.pid}); open the studio again to follow it, or end it: "
                f"kill {run.pid}",
                flush=True,
            )

    def log(self, tail: int) -> str:
        """The last lines of what the last run printed."""
        return "\n".join(self._log().text.splitlines()[-tail:])

    def status(self, labels: Iterable[Sided]) -> dict[str, Any]:
        """All that a page shows of it, as JSON; times in seconds, `started` and `ended` since 1970."""
        self._settle()
        labels = list(labels)
        try:
            plan = self.plan(labels)
        except InputError as error:
            plan = replace(empty_plan(labels), why=str(error))
        why = plan.why
        with self._lock:
            run = self._last()
            lives = run is not None and run.lives  # before its log is read, which is whole once it is gone
            log = self._log()
        state, error = self._state(run, lives, log)
        busy = state in ("running", "stopping")
        ended = None if busy or run is None else self._last_word()
        return {
            "state": state, "can": not why and not busy, "why": why if not busy else "", "plan": plan.told,
            "stages": log.stages(jobs_at_work(self.working) if busy else []) if run else [],
            "share": 1.0 if log.complete else log.done / max(log.totals.total(), 1),
            "left": self._left(run, log) if state == "running" else None,
            "error": error, "verdict": self.verdict(), "report": self.report is not None,
            "started": run.started if run else None, "ended": ended,
        }  # fmt: skip

    def _planned(self, labels: list[Sided]) -> Plan:
        """The plan, made anew only where something it rests on has changed: a page asks every other second."""
        files = [self.working / PARAMS, card_file(self.working, self.name, "summaries")]
        about = [(file, stat.st_mtime_ns, stat.st_size) for file in files if file and (stat := file.stat())]
        key = (about, [(label.vid, label.side, len(label.windows)) for label in labels])
        if self._plan is None or self._plan[0] != key:
            self._plan = key, plan_training(self.working, self.name, labels)
        return self._plan[1]

    def _state(self, run: StartedRun | None, lives: bool, log: RunLog) -> tuple[str, str]:
        """The state in a word, and what went wrong."""
        if run is None:
            return "idle", ""
        if lives:
            return ("stopping" if run.stopping else "running"), ""
        if log.complete:
            if run.failed:
                return "failed", run.failed
            return ("done" if run.packed else "running"), ""
        if log.stopped or run.stopping:
            return "stopped", ""
        return ("failed", log.reason()) if log.failed else ("stopped", ENDED_UNTOLD)

    def _left(self, run: StartedRun, log: RunLog) -> float | None:
        """Seconds until the run ends; None while unknown."""
        try:
            past = {str(rule): float(seconds) for rule, seconds in read_json(self.working / TIMES).items()}
        except (OSError, ValueError, TypeError, AttributeError):
            past = {}
        last = self._last_word() or run.started
        left = log.left(last - run.started, past)
        rest = 0.0 if left is None else left - (time.time() - last)
        return rest if rest > 0 else None  # a job takes longer than was thought

    def _settle(self) -> None:
        """Begin to pack what a run made that has ended well, also one of a studio that is gone."""
        with self._lock:
            if self._process is not None:
                self._process.poll()
            run = self._last()
            if run is None or run.packed or run.failed or run.lives or self._is_packing() or not self._log().complete:
                return
            if run_at_work(self.working):
                return  # another one, which may be writing what would be packed
            self._packing = threading.Thread(target=self._pack, args=(run,), daemon=True)
            self._packing.start()

    def _is_packing(self) -> bool:
        return self._packing is not None and self._packing.is_alive()

    def _pack(self, run: StartedRun) -> None:
        try:
            pack(self.working, self.name, self.cache)
            self._keep(replace(run, packed=True))
        except InputError as error:
            self._keep(replace(run, failed=f"trained, but the bundle could not be packed: {error}"))
        except Exception as error:
            self._keep(replace(run, failed=f"trained, but the bundle could not be packed: {error!r}"))
            raise

    def _last(self) -> StartedRun | None:
        try:
            return StartedRun(**read_json(self.cache / RUN))
        except (OSError, InputError, TypeError):
            return None  # none yet, or somebody tidied up

    def _keep(self, run: StartedRun) -> None:
        write_json(self.cache / RUN, asdict(run))

    def _log(self) -> RunLog:
        with suppress(OSError):
            return RunLog.read((self.cache / LOG).read_text(encoding="utf-8", errors="replace"))
        return RunLog()

    def _last_word(self) -> float | None:
        """When the last run last printed something, in seconds since 1970."""
        with suppress(OSError):
            return (self.cache / LOG).stat().st_mtime
        return None


def _end(run: StartedRun) -> None:
    """Send a run's group stronger and stronger signals until it is gone."""
    for number in SIGNALS:
        with suppress(ProcessLookupError):
            if run.lives:
                os.killpg(run.pid, number)
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if not run.lives:
                return
            time.sleep(0.1)
