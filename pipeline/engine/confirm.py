"""Whether what was made is what would be made now: a plan made anew, from params.yaml and the code as they stand."""

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence

from read.errors import InputError

CONFIRMING = "READ_CONFIRMING"  # in the environment of such a plan
JOB = re.compile(r"^(?:local)?rule (\w+):\n(?:.*\n)*?    reason: (.*)$", re.MULTILINE)
SHOWN = 5  # jobs named in a message
LONGEST = 200  # characters of a reason


def is_confirming() -> bool:
    """Whether this process makes such a plan."""
    return CONFIRMING in os.environ


def confirm(targets: Sequence[str] = ()) -> None:
    """Check that nothing is left to do.

    Args:
        targets: folders of artifacts; by default all.

    Raises:
        InputError: a job is due: params.yaml, the code or an artifact changed while the run worked.
    """
    command = [sys.executable, "-m", "snakemake", "-n", *targets]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {CONFIRMING: "1"})
    said = done.stdout + done.stderr
    if done.returncode == 0 and "Nothing to be done" in said:
        return
    jobs = [(rule, reason) for rule, reason in JOB.findall(said) if rule != "all"]
    if not jobs:
        raise InputError(f"not recorded: no plan can be made of what is there now:\n{said.strip()[-2000:]}")
    first = dict(reversed(jobs))
    lines = [f"  {count} {rule}: {first[rule][:LONGEST]}" for rule, count in Counter(r for r, _ in jobs).items()]
    raise InputError(
        "not recorded: params.yaml, the code or an artifact changed while this run worked. What is there is of before "
        "the change; run again to make what follows from it:\n" + "\n".join(lines[:SHOWN])
    )
