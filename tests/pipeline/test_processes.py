"""Stages in several processes: what they make, and how they end."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from pipeline.machine import limit_gpus
from pipeline.params import Machine
from pipeline.processes import _words, processes_of
from read.errors import InputError
from read.processes import birth

ROOT = Path(__file__).parents[2]


def started(*command, **more):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "READ_MACHINE": json.dumps({"device": "cpu", "processes": 2})}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([sys.executable, *command], env=environment, **pipes, **more)


@pytest.mark.slow
def test_what_one_process_cannot_do_is_told_once_and_ends_all(tmp_path):
    refusing, dying = (started("-m", "tests.pipeline.ranked", how, cwd=tmp_path) for how in ("refuse", "die"))
    assert refusing.communicate(timeout=120)[0] == "error: the features are no good\n" and refusing.returncode == 1
    said = dying.communicate(timeout=120)[0]
    assert said.startswith("error: process 2 of 2 was ended by SIGKILL") and said.count("\n") == dying.returncode == 1


LAUNCHED = """
import sys, time
from pipeline.engine.stopping import end_with_launcher
end_with_launcher(sys.argv[1])
print("looks", flush=True)
time.sleep(600)
"""
LAUNCHES = """
import os, subprocess, sys
from read.processes import birth
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], f"{os.getpid()} {birth(os.getpid())}"])
print(child.pid, flush=True)
child.wait()
"""


def test_processes_end_with_the_one_that_started_them():
    launcher = started("-c", LAUNCHES, LAUNCHED)
    child = psutil.Process(int(launcher.stdout.readline()))
    assert launcher.stdout.readline() == "looks\n" and child.is_running()
    launcher.kill()
    assert psutil.wait_procs([child], timeout=90)[1] == []
    launcher.communicate()


def test_processes_whose_launcher_is_gone_before_they_look_end_too():
    late = started("-c", LAUNCHED, f"{os.getpid()} {birth(os.getpid()) - 60}")  # its number went to another
    assert late.communicate(timeout=90) and late.returncode == -signal.SIGKILL


def test_only_pretraining_and_full_fine_tuning_are_shared_out():
    machine = Machine(processes=4)
    assert [processes_of(machine, method) for method in (None, "full", "read", "lora")] == [4, 4, 1, 1]


def test_words_name_what_ended_first():
    """Of status 1 a process has said why itself; by SIGTERM the others are ended."""
    assert "process 3 of 4 was ended by SIGSEGV; " in _words({0: 1, 1: -15, 2: -signal.SIGSEGV, 3: -15}, 4)
    assert "process 2 of 2 was ended by SIGKILL, as where memory runs out" in _words({0: -15, 1: -9}, 2)
    assert "process 1 of 2 was ended with status 1" in _words({0: 1, 1: 1}, 2)


def test_more_processes_than_gpus_are_refused_before_a_run(monkeypatch):
    monkeypatch.setattr("pipeline.machine.visible_devices", lambda: ["0", "1"])
    given = type("Resources", (), {"nodes": None})()
    workflow = type("Workflow", (), {"resource_settings": given, "global_resources": {}})()
    limit_gpus(workflow, Machine(processes=2))
    with pytest.raises(InputError, match=r"machine\.processes: 2, each with a GPU of its own, but there are 1"):
        limit_gpus(workflow, Machine(processes=2, gpus=1))
    limit_gpus(workflow, Machine(processes=8, device="cpu"))
