"""Runs whose artifacts lie in object storage: Snakemake copies what a job needs, and the job works on the copies."""

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.engine import dvc
from read.errors import InputError

ANY = "data/any"  # a path, to see where its copy would lie


def is_stored(workflow: Any) -> bool:
    """Whether the artifacts lie in object storage, by `--default-storage-provider`."""
    return workflow.storage_settings.default_storage_provider is not None


def tell_root(workflow: Any) -> bool:
    """Tell jobs where the copies lie, if there are any, and return whether there are.

    Raises:
        InputError: inside a stage of DVC, which knows the file system alone; the storage cannot be had, or its copies
            lie in no such tree.
    """
    os.environ.pop(paths.TOLD, None)
    if not is_stored(workflow):
        return False
    if dvc.is_inside():
        raise InputError("a stage of DVC works on files beside dvc.yaml; run `snakemake` itself for object storage")
    place = str(workflow.modifier.path_modifier.apply_default_storage(ANY))
    if not place.endswith(f"/{ANY}"):
        provider = workflow.storage_settings.default_storage_provider
        raise InputError(f"--default-storage-provider {provider}: keeps {ANY} as {place}; take one that keeps folders")
    os.environ[paths.TOLD] = str(Path(place).parents[ANY.count("/")])
    _show_logs(workflow)
    if workflow.is_main_process:
        _check(workflow)
        print(f"artifacts lie in {address(workflow)}; DVC records none of this run", file=sys.stderr)
    return True


def address(workflow: Any, place: str = "") -> str:
    """Where something lies in the storage."""
    return f"{workflow.storage_settings.default_storage_prefix.rstrip('/')}/{place}"


def _check(workflow: Any) -> None:
    """Ask for something once, before anything is planned by it. Raises InputError where the answer is a refusal."""
    place = workflow.storage_registry.default_storage_provider.object(address(workflow, ANY))
    try:
        place.exists()
        missing = not getattr(place, "bucket_exists", lambda: True)()  # the plug-in of S3 would make one of any name
    except Exception as error:  # whatever a provider raises
        told = str(error).strip() or type(error).__name__
        raise InputError(
            f"{address(workflow)}: cannot be had ({told.splitlines()[0]}); look at its address and your credentials"
        ) from None
    if missing:
        raise InputError(f"{address(workflow)}: no such bucket, or none that these credentials may see; make it first")


def _show_logs(workflow: Any) -> None:
    """Let Snakemake show the logs of failed jobs, which it looks for by their addresses, from their copies."""
    from snakemake import logging

    original, root = logging.show_logs, Path(os.environ[paths.TOLD])

    def copy_of(shown: str) -> str:
        query = shown.partition(" (")[0]
        copy = root / query.removeprefix(address(workflow))
        with suppress(Exception):  # whatever a provider raises; it is told that there is no log
            if not copy.is_file():  # the job ran elsewhere
                copy.parent.mkdir(parents=True, exist_ok=True)
                workflow.storage_registry.default_storage_provider.object(query).retrieve_object()
        return str(copy)

    logging.show_logs = lambda logs: original([copy_of(str(log)) for log in logs])
