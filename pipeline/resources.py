"""What each job asks for: threads, memory, minutes and a GPU, by the sizes of what it works on.

Snakemake holds a cluster to these, and its own scheduler to those that `--resources` limits. None of them is a param of
a job, so another number reruns nothing. What is asked for is ample, since a job that asks for too little is ended; an
attempt that follows such an end asks for twice as much.

Jobs that train have one thread a process: sums of several come out other in their last digits, and the default's models
are so small that threads wait for each other for longer than they work. `--set-threads` gives more to others.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.params import Machine, Params, TrainTask

BASE = 2000  # MB; the default's jobs hold at most 1200
HELD = {
    ".safetensors": 8,
    ".jsonl": 12,
    ".json": 12,
}  # how many times its size a file takes: optimiser's states, objects
UNCOUNTED = ("data/features/", "models/adapters/")  # read as they lie; loaded one after another
STARTS = 30  # minutes for everything about a job that grows with nothing
DECODERS = 8  # threads that extract, beyond which the encoders are what is waited for
THREAD = 300  # MB of a thread that decodes: ffmpeg's pictures, and clips that wait
LISTENER = 8000  # MB: large-v3 in float32, and ten minutes of sound
ENTRY = 200  # bytes about a video in the list of a shard


def free_threads(workflow: Any) -> None:
    """Let jobs of a cluster have the threads that they ask for: the cores of profiles/default are of this machine.

    Snakemake knows its executor only when it is about to build its graph.
    """
    build = type(workflow)._prepare_dag

    def prepare(workflow: Any, *arguments: Any, **options: Any) -> Any:
        if workflow.is_main_process and not workflow.local_exec:
            workflow.resource_settings.cores = None
            workflow.global_resources["_cores"] = None
        return build(workflow, *arguments, **options)

    type(workflow)._prepare_dag = prepare


def gpus(machine: Machine, workflow: Any) -> int | None:
    """How many GPUs a job asks for that can use one; None where none is asked for.

    Args:
        machine: `device: cuda` asks for one; `auto` where there are any, by `--resources gpu=N`, which a profile has of
            a cluster and `limit_gpus` of this machine.
        workflow: Snakemake's.
    """
    if machine.device == "auto":
        return 1 if workflow.global_resources.get("gpu").value else None
    return 1 if machine.device == "cuda" else None


def decoders(workflow: Any, jobs: int) -> Callable[..., int]:
    """Threads of a job that extracts features: what comes out depends on none of them.

    Args:
        workflow: Snakemake's.
        jobs: such jobs that may run at once, which share the cores of this machine.
    """

    def threads(wildcards: Any) -> int:
        if workflow.is_main_process and workflow.local_exec:
            return max(1, min(DECODERS, workflow.cores // jobs))
        return DECODERS

    return threads


def memory(wildcards: Any, input: Any, attempt: int) -> int:
    """MB of a job that holds its inputs: weights with what trains them, labels as objects; features stay in files."""
    held = 0.0
    for file, size in zip(map(str, input), _sizes(input), strict=True):
        if not any(folder in file for folder in UNCOUNTED):
            held += size / 2**20 * HELD.get(Path(file).suffix, 0)
    return round((BASE + held) * 2 ** (attempt - 1))


def shard_memory(wildcards: Any, input: Any, attempt: int, threads: int) -> int:
    """MB of an extraction: the same, and what its threads decode."""
    return memory(wildcards, input, attempt) + THREAD * threads * 2 ** (attempt - 1)


def of_processes(asked: Callable[..., int], count: int) -> Callable[..., int]:
    """What a job of several processes asks for, each of which asks for so much."""
    return lambda wildcards, input, attempt: count * asked(wildcards, input, attempt)


def minutes(work: float = 0.0) -> Callable[..., int]:
    """The time limit of a job.

    Args:
        work: minutes that it may take beside its start and end.
    """

    def runtime(wildcards: Any, attempt: int) -> int:
        return round((STARTS + work) * 2 ** (attempt - 1))

    return runtime


def shard_minutes(wildcards: Any, input: Any, attempt: int) -> int:
    """The time limit of an extraction: a minute for each video of its shard, whose list is its first input."""
    return minutes(_sizes(input)[0] / ENTRY)(wildcards, attempt)


def training_minutes(params: Params, task: str, stage: str) -> Callable[..., int]:
    """The time limit of a pretraining or of a run, at a second a step: a run takes its steps at each rate in each fold.

    Args:
        params: of params.yaml.
        task: one of its tasks.
        stage: pretrain or train.
    """
    terms = getattr(getattr(params, stage), task)
    times = len(terms.learning_rates) * (terms.folds + 1) if isinstance(terms, TrainTask) else 1
    return minutes(terms.steps * times / 60)


def listening_memory(wildcards: Any, input: Any, attempt: int) -> int:
    """MB of a job that listens: the same, and the largest model."""
    return memory(wildcards, input, attempt) + LISTENER * 2 ** (attempt - 1)


def listening_minutes(wildcards: Any, input: Any, attempt: int) -> int:
    """Its time limit: ten minutes for each video of its shard, whose list is its first input."""
    return minutes(10 * _sizes(input)[0] / ENTRY)(wildcards, attempt)


def _sizes(input: Any) -> list[int]:
    """Bytes of each input, as known now: Snakemake asks anew before it starts a job. Storage is asked by Snakemake."""
    if any(getattr(file, "is_storage", False) for file in input):
        return input.size_files
    return [path.stat().st_size if path.is_file() else 0 for path in map(Path, input)]
