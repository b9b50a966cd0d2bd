"""How many runs that were killed or stopped, at moments spread over all stages, the next run brings to the same end.

    python -m benchmarks.chaos                        30 kill -9 of snakemake, 15 of dvc repro, 10 of each signal,
                                                      and of each that ends a job alone
    python -m benchmarks.chaos --kills 3 --signals 1  fewer
    python -m benchmarks.chaos --json chaos.json      and what came of each, as JSON

An undisturbed run of the tiny project says what every artifact has to be. Then, from an empty folder, runs are begun,
disturbed after a random time, and begun again until one has come to its end; `--rounds` says over how many such folders
the disturbances are spread. At the end of each, every artifact has to be there and equal that of the undisturbed run,
and neither engine may have anything left to do.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from benchmarks.tiny import Project, Running, make_project
from read.files import sha256_of, write_json

ARTIFACTS = ("data/raw", "data/features", "data/splits", "data/transcripts", "models", "results")
ENGINES = {"snakemake": ("snakemake", "--cores", "2"), "dvc": ("dvc", "repro")}
JOB = "job"  # of snakemake, in an engine's place
SCRATCH = {".snakemake_timestamp"}
LAST = 0.95  # share of an undisturbed run's time after which it is let go on
WAIT = 120.0  # seconds that a signal may take


def main(argv: Sequence[str] | None = None) -> None:
    """Disturb runs and say what came of it. Ends with status 1 where an artifact differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30, help="kill -9 of snakemake")
    parser.add_argument("--repro-kills", type=int, default=15, help="kill -9 of dvc repro")
    parser.add_argument("--job-kills", type=int, default=10, help="kill -9 of a job of snakemake, and as many SIGTERM")
    parser.add_argument("--signals", type=int, default=10, help="SIGINT, and as many SIGTERM")
    parser.add_argument("--rounds", type=int, default=3, help="folders over which they are spread")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write what came of each")
    options = parser.parse_args(argv)
    dice = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as room:
        calm = make_project(Path(room, "calm", "project"))
        began = time.monotonic()
        calm.snakemake()
        seconds = time.monotonic() - began
        found = disturb(Path(room), plan(options, dice), options.rounds, dice, calm, seconds)
    for what, count in found["disturbed"].items():
        print(f"{what}: {count}")
    print(f"moments: {', '.join(f'{stage} {count}' for stage, count in sorted(found['stages'].items()))}")
    print(f"{found['rounds']} folders came to the same end as undisturbed: {found['survived']}")
    if options.json:
        write_json(options.json, found)
    if found["survived"] < found["rounds"]:
        raise SystemExit(json.dumps(found["differs"], indent=2))


def plan(options: argparse.Namespace, dice: random.Random) -> list[tuple[str, signal.Signals]]:
    """Which engine is disturbed by what, in a random order."""
    wanted = [("snakemake", signal.SIGKILL)] * options.kills + [("dvc", signal.SIGKILL)] * options.repro_kills
    wanted += [(JOB, number) for number in (signal.SIGKILL, signal.SIGTERM) for _ in range(options.job_kills)]
    for number in (signal.SIGINT, signal.SIGTERM):
        wanted += [(dice.choice(list(ENGINES)), number) for _ in range(options.signals)]
    dice.shuffle(wanted)
    return wanted


def disturb(
    room: Path,
    wanted: list[tuple[str, signal.Signals]],
    rounds: int,
    dice: random.Random,
    calm: Project,
    seconds: float,
) -> dict:
    """Run and disturb, then run to the end.

    Args:
        room: a folder to work in.
        wanted: which engine is disturbed by what.
        rounds: folders that begin empty, over which these are spread.
        dice: of the moments.
        calm: a project after an undisturbed run.
        seconds: that it took.

    Returns:
        `rounds`, how many of them `survived`, what `differs` in the others, and each of the `events`.
    """
    truth = contents(calm)
    found = {"seconds": seconds, "rounds": 0, "survived": 0, "differs": {}, "events": []}
    for number in range(min(rounds, max(1, len(wanted)))):
        project = calm.clone(room / str(number) / "project", "start")  # the report names the commit
        for engine, kind in wanted[number::rounds]:
            found["events"].append(strike(project, engine, kind, dice.uniform(0, LAST * seconds)))
        project.run(*ENGINES[dice.choice(list(ENGINES))])
        project.snakemake()
        differs = difference(truth, contents(project)) + left_to_do(project)
        found["rounds"] += 1
        found["survived"] += not differs
        if differs:
            found["differs"][str(number)] = differs
    found["disturbed"] = dict(Counter(f"{event['engine']} {event['signal']}" for event in found["events"]))
    found["stages"] = dict(Counter(event["stage"] for event in found["events"]))
    return found


def strike(project: Project, engine: str, kind: signal.Signals, after: float) -> dict[str, str | float]:
    """Begin a run and disturb it some seconds later; where it ends before that, another one, and sooner."""
    logs = before = set_of_logs(project)
    run = project.start(*ENGINES["snakemake" if engine == JOB else engine])
    end = time.monotonic() + after
    while time.monotonic() < end and run.process.poll() is None:
        time.sleep(0.05)
        logs = set_of_logs(project)
    changed = sorted(logs.items() - before.items(), key=lambda item: item[1])
    stage = changed[-1][0] if changed else "planning"
    if run.process.poll() is not None:
        spoil(project)
        return strike(project, engine, kind, after / 2)
    _send(run, engine, kind)
    return {"engine": engine, "signal": kind.name, "after": after, "stage": stage}


def _send(run: Running, engine: str, kind: signal.Signals) -> None:
    """Let kill -9 and SIGTERM reach the engine or a job alone, as from another shell; Ctrl-C its whole group."""
    if engine == JOB:
        _send_job(run, kind)
    else:
        os.killpg(run.process.pid, kind) if kind == signal.SIGINT else run.process.send_signal(kind)
    try:
        run.process.wait(WAIT)
    except subprocess.TimeoutExpired:
        run.kill()
        raise RuntimeError(f"{engine} did not end within {WAIT:g} s after {kind.name}") from None
    time.sleep(1.0)  # jobs of a dead run end within half a second


def _send_job(run: Running, kind: signal.Signals) -> None:
    while run.process.poll() is None:
        for job in jobs(run):
            with suppress(psutil.NoSuchProcess):
                job.send_signal(kind)
                return


def jobs(run: Running) -> list[psutil.Process]:
    """The stages at work in a run; a process that ends meanwhile is none."""
    found = []
    with suppress(psutil.NoSuchProcess):
        for process in psutil.Process(run.process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if any(word.startswith("pipeline.stages.") for word in process.cmdline()):
                    found.append(process)
    return found


def spoil(project: Project) -> None:
    """Give the next run something to do: an artifact of an early stage goes."""
    (project.folder / "models/encoders/clip/model.safetensors").unlink(missing_ok=True)


def set_of_logs(project: Project) -> dict[str, int]:
    """Stage -> when its newest log was written."""
    found: dict[str, int] = {}
    for path in (project.folder / "logs").rglob("*.log"):
        stage = path.relative_to(project.folder / "logs").parts[0].removesuffix(".log")
        found[stage] = max(found.get(stage, 0), path.stat().st_mtime_ns)
    return found


def contents(project: Project) -> dict[str, str]:
    """Artifact -> digest."""
    files = (path for top in ARTIFACTS for path in (project.folder / top).rglob("*"))
    return {
        path.relative_to(project.folder).as_posix(): sha256_of(path)
        for path in files
        if path.is_file() and path.name not in SCRATCH
    }


def difference(truth: dict[str, str], found: dict[str, str]) -> list[str]:
    """What is missing, of other content, or too much."""
    missing = [f"missing: {name}" for name in sorted(truth.keys() - found.keys())]
    more = [f"left over: {name}" for name in sorted(found.keys() - truth.keys())]
    other = [f"differs: {name}" for name in sorted(truth.keys() & found.keys()) if truth[name] != found[name]]
    return missing + more + other


def left_to_do(project: Project) -> list[str]:
    """What the engines would still do after a complete run."""
    jobs, status = project.planned_jobs(), json.loads(project.dvc("status", "--json"))
    return [f"snakemake would run {jobs}"] * bool(jobs) + [f"dvc sees changes of {sorted(status)}"] * bool(status)


if __name__ == "__main__":
    main()
