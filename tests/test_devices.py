"""Each process takes a GPU of its own, as far as there are, by locks that end with it."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.machine import limit_gpus
from pipeline.params import Machine
from read import devices
from read.errors import InputError

ROOT = Path(__file__).parents[1]
PLAIN = "GPU 0: NVIDIA H100 (UUID: GPU-aa)\nGPU 1: NVIDIA H100 (UUID: GPU-bb)\nGPU 2: NVIDIA H100 (UUID: GPU-cc)\n"
PARTED = (
    "GPU 0: NVIDIA A100 (UUID: GPU-aa)\n  MIG 1g.5gb Device 0: (UUID: MIG-a1)\n  MIG 1g.5gb Device 1: (UUID: MIG-a2)\n"
)
PARTED += "GPU 1: NVIDIA A100 (UUID: GPU-bb)\n"
TAKE = """
import os, sys, time
from pathlib import Path
from read import devices
devices._room, devices.PAUSE = lambda: Path(sys.argv[1]), 0.05
devices.take_devices(int(sys.argv[2]))
print(os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def smi(tmp_path, monkeypatch):
    """Stand in for nvidia-smi; returns what sets the GPUs that it lists."""
    program = tmp_path / "bin/nvidia-smi"
    program.parent.mkdir()
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    for name in (devices.VISIBLE, devices.RANK, "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(devices, "_room", lambda: tmp_path)
    monkeypatch.setattr(devices, "_held", {})

    def show(listed: str) -> None:
        program.write_text(f"#!/bin/sh\ncat <<END\n{listed}END\n")
        program.chmod(0o755)

    show(PLAIN)
    return show


@pytest.fixture
def take(tmp_path):
    """Start a process that takes GPUs and holds them."""
    started = []

    def start(count: int = 1, wait: bool = True) -> SimpleNamespace:
        process = subprocess.Popen(
            [sys.executable, "-c", TAKE, str(tmp_path), str(count)],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        said = process.stdout.readline() if wait else process.stderr.readline()
        return SimpleNamespace(process=process, said=said.strip())

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("listed", "given", "visible"),
    [
        (PLAIN, None, ["GPU-aa", "GPU-bb", "GPU-cc"]),
        (PLAIN, "2,0", ["GPU-cc", "GPU-aa"]),
        (PLAIN, "GPU-b", ["GPU-bb"]),
        (PLAIN, "1,-1,0", ["GPU-bb"]),
        (PLAIN, "1,7,0", ["GPU-bb"]),
        (PLAIN, "", []),
        (PARTED, None, ["MIG-a1", "MIG-a2", "GPU-bb"]),
        (PARTED, "1,MIG-a2", ["GPU-bb", "MIG-a2"]),
    ],
)
def test_what_is_visible_goes_by_names_that_mean_the_same_everywhere(monkeypatch, smi, listed, given, visible):
    smi(listed)
    if given is not None:
        monkeypatch.setenv(devices.VISIBLE, given)
    assert devices.visible_devices() == visible


def test_each_process_takes_another_gpu_and_waits_where_none_is_free(take):
    several, one = take(2), take()
    assert (several.said, one.said) == ("GPU-aa,GPU-bb", "GPU-cc")
    late = take(wait=False)
    pids = f"{several.process.pid}, {one.process.pid}"
    assert late.said == f"waiting for 1 free of 3 GPUs (processes {pids} have them or wait, too)"
    one.process.kill()  # however it ends
    assert late.process.stdout.readline().strip() == "GPU-cc"


def test_who_waits_for_several_gets_them_before_others_take_each_that_gets_free(take):
    first, second = take(), take()
    several = take(3, wait=False)
    single = take(wait=False)
    for each in (first, second):
        each.process.kill()
        each.process.wait()  # one after the other
    assert several.process.stdout.readline().strip() == "GPU-cc,GPU-aa,GPU-bb"
    several.process.kill()
    assert single.process.stdout.readline().strip() == "GPU-aa"


@pytest.mark.parametrize(("given", "rank"), [("1", None), ("0,1", "0"), ("", None)])
def test_where_the_choice_is_made_nothing_is_taken(monkeypatch, tmp_path, given, rank):
    monkeypatch.setenv(devices.VISIBLE, given)
    if rank is not None:
        monkeypatch.setenv(devices.RANK, rank)
    devices.take_devices()
    assert os.environ[devices.VISIBLE] == given and not list(tmp_path.glob("gpu-*"))


def test_more_than_are_visible_are_refused_and_no_gpu_is_no_mistake(smi):
    with pytest.raises(InputError, match="4 GPUs are asked for, and 3 are visible: GPU-aa, GPU-bb, GPU-cc"):
        devices.take_devices(4)
    smi("")
    assert devices.take_devices() == [] and devices.VISIBLE not in os.environ
    with pytest.raises(InputError, match="2 GPUs are asked for, and 0 are visible: none"):
        devices.take_devices(2)


@pytest.mark.parametrize(
    ("machine", "asked", "nodes", "limit"),
    [
        ({}, {}, None, {"gpu": 3}),
        ({"gpus": 2}, {}, None, {"gpu": 2}),
        ({}, {"gpu": 1}, None, {"gpu": 1}),
        ({"device": "cpu"}, {}, None, {}),
        ({"gpus": 99}, {}, 4, {}),  # a cluster's, whose nodes are other machines
    ],
)
def test_a_run_starts_no_more_jobs_on_gpus_than_there_are(machine, asked, nodes, limit):
    workflow = SimpleNamespace(global_resources=dict(asked), resource_settings=SimpleNamespace(nodes=nodes))
    limit_gpus(workflow, Machine(**machine))
    assert workflow.global_resources == limit


def test_more_gpus_than_the_machine_has_are_refused():
    workflow = SimpleNamespace(global_resources={}, resource_settings=SimpleNamespace(nodes=None))
    with pytest.raises(InputError, match=r"machine.gpus: 4, but 3 are visible here \(GPU-aa, .*\); use auto"):
        limit_gpus(workflow, Machine(gpus=4))
