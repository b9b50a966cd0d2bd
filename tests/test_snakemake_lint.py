"""Snakemake's own linter has nothing to say but that jobs name no environment: one environment serves them all."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_linter_is_content():
    command = [sys.executable, "-m", "snakemake", "--lint"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    lints = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("    * ")]
    assert lints, done.stderr
    assert {line for line in lints if "conda environment" not in line} == set()
