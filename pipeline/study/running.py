"""The jobs of a study: by Snakemake in each cell, or as commands for a machine that has no Snakemake.

A program starts Snakemake per cell, where one graph over all cells would need every rule to know them. What is behind
the strategies is made for all cells side by side; then cell by cell the runs, each cell's on all cores. Snakemake knows
what is done, so a killed study goes on where it was and loses the jobs that ran.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

from pipeline import paths
from pipeline.params import Params
from pipeline.study.cells import Cell
from pipeline.study.schema import TASK
from read.errors import InputError

COMMAND = re.compile(r"^Shell command: (python -m pipeline\.stages\.(train|evaluate) .*)$", re.MULTILINE)
PLANNED = re.compile(r"^rule (train_run|evaluate_runs|references|linear_map):$", re.MULTILINE)
LOG = re.compile(r"> (\S+) 2>&1$")
ONE_THREAD = "OMP_NUM_THREADS=1 MKL_NUM_THREADS=1"  # as Snakemake gives each job
# What comes back from elsewhere, in the order in which it was made: Snakemake goes by the files' times.
MADE = ("models/adapters", "results/curves", "results/runs")
MACHINES = "machines"


def run_cells(cells: Sequence[Cell], cores: int) -> None:
    """Run all jobs of some cells. Raises InputError where a cell's jobs fail; those of other cells are done first."""
    prepare_backbones(cells, cores)
    failures = []
    for cell in cells:
        try:
            together([(cell, cell.targets)], cores)
        except InputError as error:
            failures.append(str(error))
    if failures:
        raise InputError("\n".join(failures))


def prepare_backbones(cells: Sequence[Cell], cores: int) -> None:
    """Make what the runs are trained from: videos once a setting, then each cell's features, splits and backbone."""
    firsts = {cell.setting: cell for cell in reversed(cells) if cell.part == "runs"}
    together([(cell, ["data/raw"]) for cell in firsts.values()], cores)
    for part in dict.fromkeys(cell.part for cell in cells):  # the ablations' cells take the features of the others
        together([(cell, cell.before) for cell in cells if cell.part == part], cores)


def together(jobs: Sequence[tuple[Cell, list[str]]], cores: int) -> None:
    """Make targets of several cells side by side, the cores divided. Raises InputError with the cells that failed."""
    share = max(1, cores // max(1, len(jobs)))
    running: list[subprocess.Popen] = []
    with ThreadPoolExecutor(min(cores, max(1, len(jobs)))) as pool:
        try:
            ended = list(pool.map(lambda job: _snakemake(*job, share, running), jobs))
        except BaseException:
            stop(running)
            raise
    if failed := [cell for (cell, _), status in zip(jobs, ended, strict=True) if status]:
        logs = ", ".join(f"{cell.folder}/logs" for cell in failed)
        raise InputError(f"{', '.join(cell.name for cell in failed)}: jobs failed; see {logs}, then run again to go on")


def _snakemake(cell: Cell, targets: Sequence[str], cores: int, running: list[subprocess.Popen]) -> int:
    """Run Snakemake in a cell; each line that it prints gets the cell's name in front."""
    command = [sys.executable, "-m", "snakemake", "--cores", f"{cores}", "--keep-going", *targets]
    process = subprocess.Popen(
        command, cwd=cell.folder, env=_environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    running.append(process)
    for line in process.stdout or ():
        if line.strip():
            print(f"{cell.name}  {line.rstrip()}", flush=True)
    return process.wait()


def stop(running: Sequence[subprocess.Popen]) -> None:
    """End what was started, with its jobs."""
    for process in running:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)


def stop_on_signals() -> None:
    """Let SIGTERM end the study as Ctrl-C does."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def _environment() -> dict[str, str]:
    """Of Snakemake in a cell: the cell's own code comes first by its folder."""
    return {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "DVC_STAGE")}


def commands(cells: Sequence[Cell], stage: str) -> Iterator[str]:
    """Shell commands of the jobs of a stage that are due, one a line, to be run in the checkout's folder.

    Args:
        cells: those whose jobs are asked for.
        stage: "train", or "evaluate", whose jobs take what those of train made.

    Raises:
        InputError: what the runs are trained from is not made yet, or no plan can be made.
    """
    for cell in cells:
        if absent := [target for target in cell.before if not (cell.folder / target).is_file()]:
            raise InputError(
                f"{cell.folder / absent[0]}: is not there yet; first run: python -m pipeline.study --until backbones"
            )
        command = [sys.executable, "-m", "snakemake", "-n", "-p", *cell.targets]
        done = subprocess.run(command, cwd=cell.folder, env=_environment(), capture_output=True, text=True)
        if done.returncode:
            raise InputError(f"{cell.name}: no plan can be made:\n{(done.stdout + done.stderr).strip()[-2000:]}")
        said = done.stdout + done.stderr
        if len(found := COMMAND.findall(said)) != len(PLANNED.findall(said)):
            raise InputError(f"{cell.name}: Snakemake {version('snakemake')} tells its plan in an unknown form")
        yield from (_command(cell, command) for command, made_by in found if made_by == stage)


def _command(cell: Cell, command: str) -> str:
    """A job's command, that makes the folder of its log, and does nothing where the job is done."""
    log = LOG.search(command)
    made = f"mkdir -p {Path(log[1]).parent} && " if log else ""
    last = _last(command.split(), cell.params)
    return f"cd {cell.folder} && {made}{{ test -e {last} || {ONE_THREAD} {command}; }}"


def _last(words: Sequence[str], params: Params) -> Path:
    """The file that a job writes last."""
    task, *rest = words[words.index(TASK) :]
    if "--shots" in words:
        shots, seed = (int(words[words.index(key) + 1]) for key in ("--shots", "--seed"))
        return paths.adapter(params.dataset, task, rest[0], shots, seed) / "run.json"
    if rest[0].startswith("--"):
        return paths.results(params.dataset, task) / "references.json"
    return paths.result(params.dataset, task, rest[0], params.runs.shots[-1], params.runs.seeds[-1]) / "scores.json"


def take(cells: Sequence[Cell], origin: Path, folder: Path) -> int:
    """Copy what was made elsewhere by `commands` into the cells; how many files.

    Args:
        cells: those that may have been worked on.
        origin: the study's folder as it came back.
        folder: the study's folder here.

    Raises:
        InputError: nothing in it is of a cell.
    """
    taken = 0
    for made in MADE:
        for cell in cells:
            source = origin / cell.folder.relative_to(folder) / made
            for path in sorted(path for path in source.rglob("*") if path.is_file()):
                target = cell.folder / made / path.relative_to(source)
                target.parent.mkdir(parents=True, exist_ok=True)
                if target.exists() and path.samefile(target):
                    target.touch()
                else:
                    shutil.copyfile(path, target)  # with the time of now: later than what it was made from
                taken += 1
    if not taken:
        raise InputError(f"{origin}: holds nothing of a cell of this study, such as {cells[0].name}/results/runs")
    for path in (origin / MACHINES).glob("*.json"):
        if not (folder / MACHINES / path.name).exists():
            shutil.copyfile(path, folder / MACHINES / path.name)
    return taken
