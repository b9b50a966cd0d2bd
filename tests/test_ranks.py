"""Two processes train as one does; the checks are those of `two_ranks`, which both run."""

import json
import subprocess
import sys

from tests.two_ranks import CHECKS


def test_two_processes_do_what_one_does(tmp_path):
    """Gradients of strategies and backbones, whole trainings, scores, and what ends them."""
    command = [sys.executable, "-m", "tests.two_ranks"]
    both = [
        subprocess.Popen([*command, str(rank), str(tmp_path)], stderr=subprocess.PIPE, text=True) for rank in (0, 1)
    ]
    errors = [process.communicate(timeout=300)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    said = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    assert all(each.keys() == CHECKS.keys() for each in said)
    failed = {name: trace for each in said for name, trace in each.items() if trace}
    assert not failed, "\n".join(f"{name}: {trace}" for name, trace in failed.items())
