"""A run's beginning: one at a time, in a folder that is ready for it."""

import errno
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from pipeline.engine import adopt, aside, confirm, dvc, leases, records, stopping, storage
from pipeline.engine.holders import OF_RUN
from read.errors import InputError
from read.files import write_text


def dvc_records(config: Mapping[str, Any]) -> bool:
    """Whether a complete run may be recorded in dvc.lock.

    Not inside a DVC stage, where DVC records, and not when `--config` made the run another than params.yaml's.
    """
    written = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    return not dvc.is_inside() and not confirm.is_confirming() and dict(config) == written


def prepare_run(workflow: Any) -> None:
    """Called once per Snakemake process, before the DAG is built. Raises InputError when another run is at work."""
    # Jobs run by this interpreter and the programs beside it, whether or not its environment was activated.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    if not workflow.is_main_process:
        stopping.end_with_run()  # one that an executor started for a job, and that clears the way for what this makes
    elif workflow.output_settings.dryrun:
        _prepare_plan(workflow)
    else:
        _prepare_work(workflow)


def confirm_stage(folders: Sequence[str]) -> None:
    """Called at the end of a run: inside a DVC stage, check what DVC is about to record. Raises InputError."""
    if dvc.is_inside():
        confirm.confirm(folders)


def _prepare_plan(workflow: Any) -> None:
    """A plan writes nothing, and beside a run it goes by Snakemake's records alone: files come and go."""
    if not os.access(".", os.W_OK):
        _plan_read_only()
    if storage.is_stored(workflow) or confirm.is_confirming() or dvc.is_inside() or leases.is_running():
        return
    if dvc.BEFORE.exists():
        adopt.tell(adopt.Verdict(), dry=True)  # a run was killed while it recorded
    elif not records.is_recorded():
        adopt.tell(adopt.judge(), dry=True)


def _prepare_work(workflow: Any) -> None:
    from snakemake.scheduling.job_scheduler import JobScheduler

    _begin()
    stopping.stop_on_signals(JobScheduler)
    if storage.is_stored(workflow):
        return
    aside.sweep_drafts()
    if dvc.is_inside():
        stopping.end_with_parent()
        return
    dvc.set_up()
    dvc.mend()
    if records.is_recorded():
        _record_words()
    else:
        adopt.tell(adopt.judge(), dry=False)


def _record_words() -> None:
    """Let DVC know sources that changed: what its first stage makes of them stands in code.yaml already."""
    if not records.LOOKED_AT.is_file() or records.LOOKED_AT.read_text(encoding="utf-8") != records.sources():
        with suppress(InputError):  # a DVC that does not work is told of where the run is recorded
            if json.loads(dvc.command("status", "--json", dvc.CODE.stem) or "{}"):
                with dvc.keeping_lock():
                    dvc.command("commit", "--force", dvc.CODE.stem)
                records.mark_recorded()
            write_text(records.LOOKED_AT, records.sources())


def _plan_read_only() -> None:
    """Let Snakemake plan where it can keep nothing. Raises InputError where there is nothing to plan by."""
    from snakemake.persistence.file import FilePersistence

    if not records.INCOMPLETE.is_dir():
        raise InputError("this folder cannot be written, and nothing ran in it yet: copy it to where it can")
    FilePersistence.save_iocache = lambda self: None


def _begin() -> None:
    """Be the only run in this folder until the process ends, and let its jobs know it."""
    try:
        os.environ[OF_RUN] = leases.take(leases.RUN).process
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES):
            raise
        raise InputError("this folder cannot be written; copy it to where it can, or plan with -n") from None
    leases.wait_for_jobs()
