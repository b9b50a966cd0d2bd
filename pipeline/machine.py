"""How a machine works, the `machine` section of params.yaml: nothing of it decides a result, so no digest holds it.

Jobs are not given it with their settings. They are told by their environment what the run that started them was
told; a job that is started by hand reads params.yaml.
"""

import json
import os
from pathlib import Path

from pipeline.cli import device_of
from pipeline.params import Machine, load_params

TOLD = "READ_MACHINE"


def tell_jobs(machine: Machine) -> None:
    """Let the jobs that this process starts know how to work."""
    os.environ[TOLD] = machine.model_dump_json()


def told() -> Machine:
    """How to work here. Raises InputError as `load_params`."""
    if TOLD in os.environ:
        return Machine.model_validate(json.loads(os.environ[TOLD]))
    return load_params().machine if Path("params.yaml").is_file() else Machine()


def chosen_device() -> str:
    """Where models run. Raises InputError where `cuda` is asked for and absent."""
    return device_of(told().device)
