"""What there is to make: the outputs of all rules, as the rules themselves declare them."""

import os
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from pipeline.engine import aside, dvc
from pipeline.paths import TOLD


def all_outputs(workflow: Any, values: Mapping[str, Sequence[Any]]) -> list[str]:
    """Every output of every rule so far, below the root, but those that are there for a while only.

    Args:
        workflow: Snakemake's.
        values: wildcard -> all that it may stand for. A rule with another wildcard is a mistake: KeyError.
    """
    found = {}
    for rule in workflow.rules:
        for pattern in rule.output:
            names = sorted(pattern.get_wildcard_names())
            for chosen in product(*(values[name] for name in names)):
                found[pattern.apply_wildcards(dict(zip(names, map(str, chosen), strict=True)))] = rule.name
    root = f"{os.environ[TOLD]}/" if TOLD in os.environ else ""
    return [str(path).removeprefix(root) for path in found if not path.flags.get("temp")]


class Targets:
    """What the default target stands for: all outputs and `last`, or the outputs below the folders of a command.

    Snakemake tells the targets of its command line only when it is about to build its graph.
    """

    def __init__(self, workflow: Any, outputs: Sequence[str], last: Sequence[str]) -> None:
        self.outputs, self.files, self.folders = list(outputs), [*outputs, *last], []
        build = type(workflow)._prepare_dag

        def prepare(workflow: Any, *arguments: Any, **options: Any) -> Any:
            self._choose(workflow)
            return build(workflow, *arguments, **options)

        type(workflow)._prepare_dag = prepare

    def __call__(self, wildcards: Any) -> list[str]:
        """The input of the rule `all`."""
        return self.files

    def _choose(self, workflow: Any) -> None:
        targets = set(workflow.dag_settings.targets)
        below = {
            target: [out for out in self.outputs if out.startswith(f"{target.rstrip('/')}/")] for target in targets
        }
        self.folders = sorted(target for target in targets - set(self.outputs) if below[target])
        if not self.folders:
            return
        self.files = list(dict.fromkeys(out for folder in self.folders for out in below[folder]))
        workflow.dag_settings.targets = targets - set(self.folders) | {"all"}
        if dvc.is_inside():
            # Without the rules before them, files that DVC has made sure of are inputs that simply are there.
            makers = {rule.name for rule in workflow.rules for out in rule.output if _is_of(out, self.files)}
            workflow.dag_settings.allowed_rules = {*makers, "all"}
            if not workflow.output_settings.dryrun:
                aside.put_unknown_aside(map(Path, self.folders))


def _is_of(pattern: Any, outputs: Sequence[str]) -> bool:
    """Whether a rule's pattern makes one of these outputs."""
    return any(pattern.match(Path(out).as_posix()) for out in outputs)
