"""What a run of the pipeline printed: how far it is, how long the rest takes, and why it ended."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

STAGES = (
    "download", "encoders", "extract", "transcribe", "split", "pretrain", "train", "evaluate", "report", "record",
)  # fmt: skip
STAGE_OF = {"annotations": "download", "encoder": "encoders", "references": "evaluate", "linear_map": "evaluate"}
TOTALS = re.compile(r"^\d+ jobs: (.+)$")
FINISHED = re.compile(r"^ *\d+/\d+  (\w+)\b.*? +(?:(\d+) h ?)?(?:(\d+) min ?)?(?:([\d.]+) s)?$")
NOTHING = "Nothing to be done"
STOPPED = "stopped; run again to go on"
FAILURES = ("Error in rule ", "WorkflowError", "Exiting because", "Traceback (most recent call last)", "error: ")
JOB_FAILED = re.compile(r"^Error in rule (\w+):$", re.MULTILINE)
JOB_LOG = re.compile(r"^Logfile (\S+?):\n=+\n(.*?)\n=+$", re.MULTILINE | re.DOTALL)
REFUSED = re.compile(r"^WorkflowError(?: in file .*, line \d+)?:\n((?s:.*?))(?=^  File |\Z)", re.MULTILINE)
OWN_ERROR = re.compile(r"^(?:ERROR: )?error: (.+)", re.MULTILINE | re.DOTALL)
LONGEST = 2000  # characters of a reason


def stage_of(rule: str) -> str:
    """The stage that a rule of the pipeline works for."""
    return STAGE_OF.get(rule, rule.partition("_")[0])


@dataclass
class RunLog:
    """A run, as far as its output tells.

    Attributes:
        totals: rule -> how many jobs there are to do; empty until they are counted.
        seconds: rule -> how long each of its finished jobs took.
        nothing: whether there was nothing to do.
        stopped: whether it was stopped, by Ctrl-C or a signal.
        text: the output.
    """

    totals: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    nothing: bool = False
    stopped: bool = False
    text: str = ""

    @classmethod
    def read(cls, text: str) -> "RunLog":
        """Of all that was printed so far."""
        log = cls(text=text)
        for line in text.splitlines():
            if (found := TOTALS.match(line)) and not log.totals:
                for part in found[1].split(", "):
                    count, _, rule = part.partition(" ")
                    log.totals[rule] = int(count)
            elif (found := FINISHED.match(line)) and found[1] in log.totals:
                hours, minutes, seconds = (float(part or 0) for part in found.groups()[1:])
                log.seconds[found[1]].append(3600 * hours + 60 * minutes + seconds)
            log.nothing = log.nothing or line.startswith(NOTHING)
            log.stopped = log.stopped or line == STOPPED
        return log

    @property
    def done(self) -> int:
        """How many jobs are finished."""
        return sum(map(len, self.seconds.values()))

    @property
    def complete(self) -> bool:
        """Whether all that there was to do is done."""
        return self.nothing or (bool(self.totals) and self.done == self.totals.total())

    @property
    def failed(self) -> bool:
        """Whether it says that something went wrong."""
        return any(sign in self.text for sign in FAILURES)

    def stages(self, at_work: Sequence[str]) -> list[dict]:
        """Name, state and number of jobs of each stage; those that this run has no job of are done already.

        Args:
            at_work: jobs of the moment, as their leases name them, with the stage in front.
        """
        done, totals = Counter[str](), Counter[str]()
        for rule, count in self.totals.items():
            totals[stage_of(rule)] += count
            done[stage_of(rule)] += len(self.seconds[rule])
        failed = set() if self.stopped else {stage_of(rule) for rule in JOB_FAILED.findall(self.text)}
        working = {job.partition(" ")[0] for job in at_work}
        rows = []
        for name in STAGES if self.totals or self.nothing else ():
            state = "done" if done[name] == totals[name] else "running" if name in working else "waiting"
            state = "failed" if name in failed else state
            rows.append({"name": name, "done": done[name], "total": totals[name], "state": state})
        return rows

    def left(self, elapsed: float, past: Mapping[str, float]) -> float | None:
        """Seconds until the end, as of the last finished job; None while too little is known.

        Each job that is left counts with the mean of its rule's jobs, in this run or in earlier ones, and those whose
        rule never ran with the mean of the others; the sum is divided by how many jobs ran at once so far. It is told
        once rules are known that make up half of the jobs that are left.

        Args:
            elapsed: seconds from the beginning of the run to the last finished job.
            past: rule -> mean seconds in earlier runs.
        """
        means = dict(past) | {rule: sum(taken) / len(taken) for rule, taken in self.seconds.items() if taken}
        left = {rule: count - len(self.seconds[rule]) for rule, count in self.totals.items()}
        known = sum(count for rule, count in left.items() if rule in means)
        if not self.totals or not self.done or 2 * known < sum(left.values()):
            return None
        usual = sum(means.values()) / len(means)
        work = sum(count * means.get(rule, usual) for rule, count in left.items())
        at_once = max(1.0, sum(map(sum, self.seconds.values())) / max(elapsed, 1e-9))
        return work / at_once

    def reason(self) -> str:
        """Why it failed: the pipeline's own message, or else the last line that was printed."""
        rule = JOB_FAILED.search(self.text)
        if rule and not JOB_LOG.search(self.text):
            return f"{rule[1]} failed without a word, as a job does that is killed, or for which there is no memory"
        if failed := JOB_LOG.search(self.text):
            place, said = failed.groups()
            if own := OWN_ERROR.search(said):
                return own[1].strip()[:LONGEST]
            last = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "it said nothing")
            return f"{rule[1] if rule else 'a job'} failed: {last[:LONGEST]} (all that it said is in {place})"
        if refused := REFUSED.search(self.text):
            return " ".join(line.strip() for line in refused[1].splitlines())[:LONGEST]
        lines = [line.strip() for line in self.text.splitlines() if line.strip()]
        return lines[-1][:LONGEST] if lines else "the run ended before it said anything"
