"""A project so small that every stage runs in seconds, and the commands of both engines in it.

Tests and `benchmarks.chaos` work on it.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
SOURCES = (
    "Snakefile",
    "dvc.yaml",
    "params.yaml",
    "pipeline",
    "read",
    "profiles",
    "data/catalog",
    ".dvcignore",
    ".gitignore",
)
TINY = {
    "download.shards": 2,
    "encoders.clip.steps": 3,
    "encoders.slowfast.steps": 3,
    "runs": {"shots": [2], "seeds": [0]},
    **{
        f"pretrain.{task}.{key}": value
        for task in ("grounding", "summarization")
        for key, value in {"hidden": 16, "layers": 2, "heads": 2, "feed_forward": 16, "steps": 6}.items()
    },
    **{
        f"train.{task}.{key}": value
        for task in ("grounding", "summarization")
        for key, value in {"steps": 2, "learning_rates": [0.001], "evaluations": 1, "budget": None}.items()
    },
    "strategies": {"adapter": {}, "read": {}},
    "evaluate.grounding.random_draws": 2,
    "evaluate.summarization": {"beams": 2, "random_draws": 2},
    "report.examples": 1,
}
CARDS = {"montage": {"train": 6, "test": 3}, "montage_source": {"train": 6, "test": 0}}
STAGE_OF = {
    "annotations": "download",
    "download_shard": "download",
    "encoder": "encoders",
    "extract_shard": "extract",
    "extract_text": "extract",
    "transcribe_shard": "transcribe",
    "pretrain_grounding": "pretrain",
    "pretrain_summarization": "pretrain",
    "train_run": "train",
    "evaluate_runs": "evaluate",
    "references": "evaluate",
    "linear_map": "evaluate",
}  # rules that are not named after their stage


class Project:
    """A checkout, with the environment that commands run in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = {
            key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "DVC_STAGE")
        } | {
            "PATH": beside,
            "OMP_NUM_THREADS": "1",
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(folder.parent / "dvc-site"),
        }

    def run(self, *command: str, status: int = 0) -> str:
        """Run a command to its end and return what it printed. `status` is how it has to end."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert done.returncode == status, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def snakemake(self, *arguments: str, status: int = 0) -> str:
        """Run Snakemake on two cores, or let it plan."""
        return self.run("snakemake", *arguments, *(() if "-n" in arguments else ("--cores", "2")), status=status)

    def dvc(self, *arguments: str) -> str:
        """Run DVC."""
        return self.run("dvc", *arguments)

    def git(self, *arguments: str) -> str:
        """Run git."""
        return self.run("git", *arguments)

    def commit(self, message: str) -> None:
        """Commit everything."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def clone(self, folder: Path, commit: str = "HEAD") -> "Project":
        """A fresh clone at a commit: no artifacts, no records."""
        self.git("clone", "--quiet", ".", str(folder))
        copy = Project(folder)
        copy.git("reset", "--quiet", "--hard", commit)
        copy.sign()
        return copy

    def sign(self) -> None:
        """Name who commits here."""
        self.git("config", "user.name", "test")
        self.git("config", "user.email", "test@example.org")

    def edit(self, changes: dict[str, Any], file: str = "params.yaml") -> None:
        """Change keys of a YAML file, given as dotted names."""
        path = self.folder / file
        values = yaml.safe_load(path.read_text())
        for key, value in changes.items():
            *sections, leaf = key.split(".")
            place = values
            for section in sections:
                place = place[section]
            place[leaf] = value
        path.write_text(yaml.safe_dump(values, sort_keys=False))

    def json(self, path: str) -> Any:
        """The value in a JSON file."""
        return json.loads((self.folder / path).read_text())

    def planned_jobs(self, *arguments: str) -> dict[str, int]:
        """Rule -> the number of its jobs that Snakemake would run."""
        text = self.snakemake("-n", *arguments)
        if "Nothing to be done" in text:
            return {}
        table = text.partition("Job stats:")[2].partition("total")[0]
        jobs = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}
        assert jobs, text
        return {name: count for name, count in jobs.items() if name != "all"}

    def planned_stages(self) -> set[str]:
        """The stages that Snakemake would work for."""
        return {STAGE_OF.get(rule, rule) for rule in self.planned_jobs()} - {"record"}

    def worked(self) -> set[str]:
        """Rules that have done work in this clone: Snakemake notes the time that each took."""
        folder = self.folder / "benchmarks/results"
        return {path.relative_to(folder).parts[0].removesuffix(".tsv") for path in folder.rglob("*.tsv")}

    def downstream(self, stages: set[str]) -> set[str]:
        """Some stages and all that depend on them, by what dvc.lock says."""
        lock = yaml.safe_load((self.folder / "dvc.lock").read_text())["stages"]
        outs = {out["path"]: name.partition("@")[0] for name, stage in lock.items() for out in stage["outs"]}
        needs = {name.partition("@")[0]: set() for name in lock}
        for name, stage in lock.items():
            read = [dep["path"] for dep in stage["deps"]]
            needs[name.partition("@")[0]] |= {
                maker for out, maker in outs.items() for path in read if out == path or out.startswith(f"{path}/")
            }
        found = set(stages)
        while more := {name for name, used in needs.items() if used & found} - found:
            found |= more
        return found

    def assert_settled(self) -> None:
        """Neither engine has anything to do; `dvc repro` runs what `dvc status` names."""
        assert json.loads(self.dvc("status", "--json")) == {}
        assert self.planned_jobs() == {}

    def start(self, *command: str) -> "Running":
        """Start a command in the background."""
        return Running(self, command)


class Running:
    """A command that goes on in the background, with its children in a process group of its own."""

    def __init__(self, project: Project, command: tuple[str, ...]) -> None:
        self.log = project.folder.parent / "running.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, cwd=project.folder, env=project.environment, stdout=log, stderr=log, start_new_session=True
            )

    def wait_for(self, condition: Callable[[], Any], seconds: float = 300.0) -> None:
        """Wait until something is so, while the command runs."""
        end = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, f"it ended before:\n{self.log.read_text()}"
            assert time.monotonic() < end, f"not within {seconds:g} s:\n{self.log.read_text()}"
            time.sleep(0.01)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Hold the command and its children where they are, however fast they are."""
        os.killpg(self.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self.process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """Kill -9 the command and all of its children."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def finish(self) -> str:
        """Wait for its end, which has to be a good one, and return what it printed."""
        assert self.process.wait() == 0, self.log.read_text()
        return self.log.read_text()


def make_project(folder: Path) -> Project:
    """A copy of this checkout's pipeline with the smallest params, as a repository whose first commit is `start`."""
    for name in SOURCES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(ROOT / name, folder / name)
    project = Project(folder)
    project.edit(TINY)
    for name, videos in CARDS.items():
        project.edit({f"videos.{key}": value for key, value in videos.items()}, f"data/catalog/{name}/card.yaml")
    project.git("init", "--quiet", "--initial-branch", "main")
    project.sign()
    project.dvc("init", "--quiet")
    if (ROOT / ".dvc/config").is_file():
        shutil.copyfile(ROOT / ".dvc/config", folder / ".dvc/config")
    shutil.copyfile(ROOT / ".dvcignore", folder / ".dvcignore")
    project.dvc("remote", "add", "--quiet", "--default", "store", str(folder.parent / "store"))
    project.commit("start")
    project.git("tag", "start")
    return project
