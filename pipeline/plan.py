"""What a run would do now, and why, on one screen: the jobs of `snakemake -n` by rule and reason."""

import argparse
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

from pipeline.cli import run
from pipeline.modules import Sources
from read.errors import InputError

JOB = re.compile(r"^(?:local)?rule (\w+):\n(?:.*\n)*?    reason: (.*)$", re.MULTILINE)
DIGEST = re.compile(r"'[0-9a-f]{16}'")
LINES = 30  # printed at most
SHOWN = 3  # keys, files or modules named in a line
LONGEST = 40  # characters of a value

FOLLOWS = "its inputs would be made anew"
SIGNS = (  # of a reason, in Snakemake's words, the strongest first
    ("Missing output files: ", "not there: "),
    ("Incomplete output files: ", "half made: "),
    ("Forced execution", "asked for by force"),
    ("Code has changed", "its rule changed"),
    ("Set of input files has changed", "other inputs than before"),
    ("Updated input files: ", "changed: "),
    ("Input files updated by another job", FOLLOWS),
)


def plan(text: str) -> list[str]:
    """Lines from what `snakemake -n` printed: how many jobs of which rule would run, and why."""
    counts: Counter[tuple[str, str]] = Counter()
    files: dict[tuple[str, str], list[str]] = {}
    for rule, reason in JOB.findall(text):
        if rule != "all":
            words, named = why(rule, reason)
            counts[rule, words] += 1
            files.setdefault((rule, words), []).extend(named)
    if not counts:
        return ["Nothing would run: all is up to date."]
    begins = [job for job in counts if job[1] != FOLLOWS]
    width = max(len(rule) for rule, _ in counts)
    lines = [f"{counts[job]:5} {job[0]:{width}}  {job[1]}{_some(files[job])}" for job in begins]
    follows = [f"{count} {rule}" for (rule, reason), count in counts.items() if reason == FOLLOWS]
    if len(lines) > LINES - 4:
        rest = sum(counts[job] for job in begins[LINES - 5 :])
        lines = [*lines[: LINES - 5], f"{rest:5} more, for other reasons"]
    if follows:
        lines.append(f"and what follows: {', '.join(follows)}")
    return [f"{counts.total()} jobs would run:", *lines]


def why(rule: str, reason: str) -> tuple[str, list[str]]:
    """Snakemake's reason to run a job of a rule, in a few words, and the files that it names."""
    if "Params have changed" in reason:
        before, _, now = reason.partition(" before: ")[2].partition(" now: ")
        if words := list(_differences(rule, before, now)):
            return ", ".join(words[:SHOWN]) + (" ..." if len(words) > SHOWN else ""), []
    for sign, words in SIGNS:
        if sign in reason:
            named = reason.partition(sign)[2].partition("; ")[0].split(", ") if sign.endswith(": ") else []
            return words, named
    return reason[:LONGEST], []


def _some(names: list[str]) -> str:
    """The first of some files, and how many more there are."""
    return "".join(names[:1]) + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def _differences(rule: str, before: str, now: str) -> Iterator[str]:
    """What differs between a job's params as Snakemake shows them: settings as JSON, a digest of code, others."""
    old, new = _leaves(before), _leaves(now)
    keys = old.keys() | new.keys()
    for key in sorted(keys):
        filled = {} in (old.get(key), new.get(key)) and any(other.startswith(f"{key}.") for other in keys)
        if old.get(key) != new.get(key) and not filled:  # an empty section that has keys now, or had, is told by these
            yield f"{key} {_short(old, key)} -> {_short(new, key)}"
    if DIGEST.search(now):
        yield "videos or code" if rule == "download_shard" else "code"  # of both it has a digest


def _leaves(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    place, decoder = text.find('{"'), json.JSONDecoder()
    while place >= 0:
        try:
            value, end = decoder.raw_decode(text, place)
        except json.JSONDecodeError:
            return found  # a value that Python quoted in its own way
        found |= dict(_flat(value, ""))
        place = text.find('{"', end)
    return found


def _flat(value: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{prefix}.{key}" if prefix else key)
    else:
        yield prefix, value


def _short(values: dict[str, Any], key: str) -> str:
    text = json.dumps(values[key]) if key in values else "nothing"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", help="files to plan for; by default all")
    command = [sys.executable, "-m", "snakemake", "-n", *parser.parse_args().targets]
    changed = Sources().changed()  # what a run keeps of the code, it keeps when it begins
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"no plan can be made:\n{(done.stdout + done.stderr).strip()[-2000:]}")
    print("\n".join(plan(done.stdout + done.stderr)))
    if changed:
        more = f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
        print(f"code that changed since the last run: {', '.join(changed[:SHOWN])}{more}")


if __name__ == "__main__":
    run(main)
