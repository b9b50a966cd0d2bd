"""What a run shows: a line per finished job, one bar over the run with the time left, and at the end what came out.

Snakemake tells of each job in some ten lines. Its own words are kept for plans (`-n`), with `--verbose`, `--quiet` or
`--printshellcmds`, and for warnings and errors; in all cases the whole story is in `.snakemake/log` and `logs/`.
"""

import json
import logging
import re
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from pipeline.engine import storage
from pipeline.paths import REPORT
from read.files import read_json, write_json

PAST = Path(".snakemake/seconds.json")  # rule -> mean seconds of its jobs in earlier runs
FORMAT = "{percentage:3.0f} % |{bar:40}| {n_fmt} of {total_fmt} jobs{postfix}"
KEPT = ("Nothing to be done",)  # beginnings of what Snakemake says that is shown
REFUSED = re.compile(r"^(?:.*')?sbatch: error: (.+?)'?\.?$", re.MULTILINE)  # Slurm's words in those of its executor


def show_progress(workflow: Any) -> None:
    """Let the main process of a run, not of a plan, tell of it in short; nothing changes for whoever asks for more."""
    wanted = workflow.output_settings
    asked_for_more = wanted.verbose or wanted.printshellcmds or wanted.quiet or wanted.dryrun
    if not workflow.is_main_process or asked_for_more:
        return
    logger = workflow.logger_manager.logger
    for handler in list(logger.handlers):
        if handler.name == "DefaultStreamHandler":
            logger.addHandler(Progress(handler))
            logger.removeHandler(handler)


class Progress(logging.Handler):
    """Shows Snakemake's events in short.

    Args:
        plain: the handler that is replaced; warnings and errors are shown as it would.
    """

    def __init__(self, plain: logging.StreamHandler) -> None:
        super().__init__()
        self.plain = plain
        self.running: dict[int, tuple[str, str, float]] = {}  # job -> its rule, its words, when it began
        self.left: Counter[str] = Counter()  # rule -> jobs to do
        self.seconds: dict[str, list[float]] = defaultdict(list)  # rule -> how long its finished jobs took
        self.past = _past()
        self.began = time.monotonic()
        self.bar: tqdm | None = None
        self.refused: set[str] = set()  # told already, as each try is refused the same
        self._ticking = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record, or nothing."""
        event = getattr(record, "event", None)
        try:
            match str(event) if event else "":
                case "run_info":
                    self._begin(record.stats)
                case "job_info":
                    self.running[record.jobid] = record.rule_name, _words(record), time.monotonic()
                case "job_finished":
                    self._finish(record.job_id)
                case "job_error" if words := REFUSED.findall(str(getattr(record, "rule_msg", ""))):
                    self._refuse(record.rule_name, "; ".join(words))
                case _ if record.levelno >= logging.WARNING or str(record.msg).startswith(KEPT):
                    self._say(self.plain.format(record))
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """End the bar and keep what was learned of the rules' times."""
        self._ticking.set()
        if self.bar is not None:
            self.bar.close()
            self.bar = None
            learned = {rule: sum(taken) / len(taken) for rule, taken in self.seconds.items()}
            if learned:
                write_json(PAST, self.past | learned)
        super().close()

    def _begin(self, stats: Mapping[str, int]) -> None:
        if self.bar is not None:
            return  # the sums again, at the end of a run
        self.left = Counter({rule: count for rule, count in stats.items() if rule not in ("total", "all")})
        self.began = time.monotonic()
        counts = ", ".join(f"{count} {rule}" for rule, count in self.left.items())
        self._say(f"{sum(self.left.values())} jobs: {counts}")
        # Without a terminal the lines of the jobs tell how far it is.
        self.bar = tqdm(
            total=sum(self.left.values()), bar_format=FORMAT, file=sys.stderr, dynamic_ncols=True, leave=False,
            disable=not sys.stderr.isatty(),
        )  # fmt: skip
        if not self.bar.disable:
            threading.Thread(target=self._tick, daemon=True).start()

    def _finish(self, job: int) -> None:
        rule, words, began = self.running.pop(job, ("", "", 0.0))
        if not rule or rule == "all":
            return
        taken = time.monotonic() - began
        self.seconds[rule].append(taken)
        self.left[rule] -= 1
        left, total = sum(self.left.values()), sum(self.left.values()) + sum(map(len, self.seconds.values()))
        self._say(f"{total - left:>{len(str(total))}}/{total}  {words:<60} {_duration(taken):>9}")
        if self.bar is not None:
            self.bar.update()
            self.bar.set_postfix_str(self._time_left())

    def _refuse(self, rule: str, words: str) -> None:
        """Tell what the cluster says to a job that it does not take, in place of a submission of 40 lines."""
        told = f"{rule}: the cluster refuses what its jobs ask for: {words}\n"
        if told not in self.refused:
            self.refused.add(told)
            self._say(
                f"{told}Name another partition or account in the profile, or ask for less: --set-resources {rule}:..."
            )

    def _tick(self) -> None:
        while not self._ticking.wait(1.0) and self.bar is not None:
            self.bar.set_postfix_str(self._time_left())

    def _time_left(self) -> str:
        """How long the rest takes, by the mean of each rule's jobs, now or earlier, and by how many run at once."""
        taken = {rule: sum(done) / len(done) for rule, done in self.seconds.items() if done}
        known = self.past | taken
        if not known:
            return ""
        usual = sum(known.values()) / len(known)
        now = time.monotonic()
        under_way = sum(now - began for *_, began in self.running.values())
        work = sum(count * known.get(rule, usual) for rule, count in self.left.items())
        done = sum(map(sum, self.seconds.values())) + under_way
        at_once = max(1.0, done / max(now - self.began, 1e-9))
        return f"about {_duration(max(0.0, work - under_way) / at_once)} left"

    def _say(self, text: str) -> None:
        if text.strip():
            tqdm.write(text, file=sys.stderr)


def show_results(workflow: Any) -> None:
    """At the end of a run that made the report: the first column of each task's table, and where the report is."""
    for handler in workflow.logger_manager.logger.handlers:
        if isinstance(handler, Progress) and "report" in handler.seconds:
            handler.close()  # its bar, below which nothing can be written
            if storage.is_stored(workflow):
                print(f"The report: {storage.address(workflow, 'results/report/index.html')}", file=sys.stderr)
            else:
                print(results_text(REPORT), file=sys.stderr)


def results_text(folder: Path) -> str:
    """What `show_results` prints of a report's folder."""
    from pipeline.reporting.exports import WARNINGS  # a second of numpy, at the end of a run only

    lines = []
    for task in sorted(path for path in (folder / "metrics").iterdir() if path.is_dir()):
        rows = {file.stem: read_json(file) for file in task.glob("*.json")}
        metric = next(iter(next(iter(rows.values()))))
        width = max(map(len, rows))
        lines += ["", f"{task.name}, {metric}"]
        for name, row in sorted(rows.items(), key=lambda item: item[1][metric]):
            spread = f" ± {row[f'{metric} std']:.1f}" if f"{metric} std" in row else ""
            warned = f"  warnings: {row[WARNINGS]}" if WARNINGS in row else ""
            lines.append(f"  {name:<{width}}  {row[metric]:5.1f}{spread}{warned}")
    if any("warnings: " in line for line in lines):
        lines += ["", "What the warnings are stands in the report, below the scores."]
    return "\n".join([*lines, "", f"The report: {(folder / 'index.html').resolve().as_uri()}"])


def _words(record: logging.LogRecord) -> str:
    """The rule and what it works on: `train_run grounding read k32 s0`."""
    short = {"shots": "k", "seed": "s"}
    return " ".join([record.rule_name, *(f"{short.get(name, '')}{value}" for name, value in record.wildcards.items())])


def _past() -> dict[str, float]:
    try:
        return {str(rule): float(seconds) for rule, seconds in read_json(PAST).items()}
    except (OSError, ValueError, TypeError, AttributeError, json.JSONDecodeError):
        return {}  # the first run here; or the file is damaged, and only a guess is lost


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
