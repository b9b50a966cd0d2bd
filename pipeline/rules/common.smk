from pipeline.engine import records
from pipeline.engine.begin import confirm_stage, dvc_records, prepare_run
from pipeline.engine.stopping import TRAP
from pipeline.engine.storage import tell_root
from pipeline.engine.targets import Targets, all_outputs
from pipeline.params import check_params, for_encoder
from pipeline.code import code_digest, keep_digests, needed_encoders, settings
from pipeline.machine import limit_gpus, tell_jobs
from pipeline.resources import (
    decoders,
    free_threads,
    gpus,
    listening_memory,
    listening_minutes,
    memory,
    minutes,
    of_processes,
    shard_memory,
    shard_minutes,
    training_minutes,
)
from pipeline.processes import processes_of
from pipeline.strategies import check_strategies, method_of
from pipeline.terminal import show_progress, show_results
from snakemake.exceptions import WorkflowError

try:
    PARAMS = check_params(config)
    check_strategies(
        PARAMS.strategies,
        backbone=PARAMS.backbone.grounding if "grounding" in PARAMS.task else None,
    )
    tell_jobs(PARAMS)
    STORED = tell_root(workflow)
    keep_digests(workflow)
    prepare_run(workflow)
    free_threads(workflow)
    limit_gpus(workflow, PARAMS.machine)
    show_progress(workflow)
except ValueError as error:
    raise WorkflowError(str(error)) from None
GPUS = gpus(PARAMS.machine, workflow)
RECORDED = records.RECORDED.as_posix()
RECORDS = not STORED and dvc_records(config)
shell.prefix(TRAP)


def code_for_dataset(stage):
    """The digest of a job's code whose dataset is a wildcard."""
    return lambda wildcards: code_digest(stage, PARAMS, dataset=wildcards.dataset)


# What a task is labelled by.
LABELS = {"grounding": "annotations.jsonl", "summarization": "summaries.jsonl"}


wildcard_constraints:
    task="grounding|summarization",
    dataset=r"[A-Za-z0-9][A-Za-z0-9_.-]*",
    shard=r"\d{3}",
    strategy=r"[A-Za-z0-9][A-Za-z0-9_.-]*",
    shots=r"\d+",
    seed=r"\d+",
