"""How a machine works, the `machine` section of params.yaml: nothing of it decides a result, so no digest holds it.

Jobs are not given it with their settings. They are told by their environment what the run that started them was
told; a job that is started by hand reads params.yaml.
"""

import json
import os
from pathlib import Path
from typing import Any

from pipeline.cli import device_of
from pipeline.params import Machine, Params, load_params
from read.devices import RANK, take_device, visible_devices
from read.errors import InputError

TOLD, TOLERANCE = "READ_MACHINE", "READ_TOLERANCE"


def tell_jobs(params: Params) -> None:
    """Let the jobs that this process starts know how to work, and what share of videos may be missing.

    The share is told this way, too, since another one by which the list of videos still holds reruns nothing.
    """
    os.environ[TOLD] = params.machine.model_dump_json()
    os.environ[TOLERANCE] = str(params.download.tolerance)


def told() -> Machine:
    """How to work here. Raises InputError as `load_params`."""
    if TOLD in os.environ:
        return Machine.model_validate(json.loads(os.environ[TOLD]))
    return load_params().machine if Path("params.yaml").is_file() else Machine()


def tolerance() -> float:
    """The share of a dataset's videos that may be missing. Raises InputError as `load_params`."""
    return float(os.environ[TOLERANCE]) if TOLERANCE in os.environ else load_params().download.tolerance


def limit_gpus(workflow: Any, machine: Machine) -> None:
    """Let no more jobs that need a GPU run at once than this machine has, unless `--resources gpu=` or a cluster says.

    Args:
        workflow: Snakemake's.
        machine: how to work here.

    Raises:
        InputError: `machine.gpus` are more than there are, or `machine.processes` more than these.
    """
    if machine.device == "cpu" or workflow.resource_settings.nodes is not None:  # nodes: a cluster's
        return
    visible = visible_devices()
    if machine.gpus != "auto" and machine.gpus > len(visible):
        names = ", ".join(visible) or "none"
        raise InputError(
            f"params.yaml: machine.gpus: {machine.gpus}, but {len(visible)} are visible here ({names}); use auto"
        )
    most = len(visible) if machine.gpus == "auto" else machine.gpus
    if visible and machine.processes > most:
        raise InputError(
            f"params.yaml: machine.processes: {machine.processes}, each with a GPU of its own, but there are {most}; "
            "take fewer, or `device: cpu`"
        )
    if visible and "gpu" not in workflow.global_resources:
        workflow.global_resources["gpu"] = most


def device() -> str:
    """Where models run here: cpu or cuda, of several processes each its own. Raises InputError where it is absent."""
    name = device_of(told().device)
    if name == "cpu" or RANK not in os.environ:
        return name
    if int(os.environ[RANK]) >= len(visible := visible_devices()):
        raise InputError(f"params.yaml: machine.processes: more than the {len(visible)} GPUs that are visible here")
    return f"{name}:{os.environ[RANK]}"


def chosen_device() -> str:
    """The same, for a process that is about to use it: it takes a free GPU, and waits for one."""
    if told().device != "cpu":
        take_device()
    return device()
