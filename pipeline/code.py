"""What code a job depends on: what its stage imports, and the plug-ins that it names.

Snakemake's jobs carry the digest of theirs among their params. For DVC the digests stand in code.yaml, by stage,
dataset, task and strategy, which its first stage makes and on which the others depend: so both engines rerun the same,
and neither minds a comment, a docstring, or a plug-in that nobody named. What is derived of several keys, so that no
job depends on each of them, stands there too.
"""

import json
import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args

import yaml

from pipeline.card import load_card
from pipeline.cli import run
from pipeline.modules import Sources
from pipeline.params import Params, TaskName, load_params, select
from pipeline.plugins import PANELS, RESTITCHERS
from pipeline.strategies import method_of
from read.encoders.base import kind_of
from read.files import write_text
from read.plugins import BACKBONES, ENCODERS, PACKAGE_LAYOUTS, PROTOCOLS, QUERY_LAYOUTS, STRATEGIES, SUMMARY_LAYOUTS

DIGESTS = Path("code.yaml")
TASK = "pipeline.tasks.{}"


def entries(stage: str, params: Params, task: str = "", strategy: str = "", dataset: str = "") -> list[str]:
    """The modules that a job begins with: its stage's, and the plug-ins that it names.

    Args:
        stage: of the job.
        params: by which it names them.
        task: of a stage that is run for each.
        strategy: an entry of `strategies`; none where the job is not about one.
        dataset: of a stage that is run for each; none: both.

    Raises:
        InputError: a name that there is not.
    """
    found = [f"pipeline.stages.{stage}"]
    if stage in ("download", "extract"):
        found += _layouts([dataset] if dataset else sorted({params.dataset, params.source}))
    if stage in ("encoders", "extract"):
        found += [ENCODERS.module(kind_of(entry, options)) for entry, options in params.encoders.items()]
    if task and stage != "split":
        found += [TASK.format(task), *_of_task(stage, params, task)]
    if strategy:
        found.append(STRATEGIES.module(method_of(strategy, params.strategies[strategy])[0]))
    if stage == "report":
        found += [PROTOCOLS.module(load_card(params.dataset).metric), *map(PANELS.module, params.report.panels)]
    return found


def _layouts(datasets: Iterable[str]) -> Iterator[str]:
    """Of the labels and of the features that the cards of some datasets name."""
    for name in datasets:
        card = load_card(name)
        for kind in (QUERY_LAYOUTS, SUMMARY_LAYOUTS):
            if card.layout in kind.names():
                yield kind.module(card.layout)
        if card.features is not None:
            yield PACKAGE_LAYOUTS.module(card.features.layout)


def _of_task(stage: str, params: Params, task: str) -> Iterator[str]:
    """The backbone and the metric; of pretraining, what stitches the source's videos anew."""
    if task == "grounding":
        card = load_card(params.source if stage == "pretrain" else params.dataset)
        yield BACKBONES.module(params.backbone.grounding)
        yield PROTOCOLS.module(card.metric)
        if stage == "pretrain" and card.videos.source in RESTITCHERS.names():
            yield RESTITCHERS.module(card.videos.source)


def needed_encoders(params: Params) -> list[str]:
    """The encoders that either dataset needs, in order: a package of features stands for those that made it."""
    cards = [load_card(dataset) for dataset in (params.dataset, params.source)]
    names = {name for card in cards for name in card.encoders(params.features, params.encoders)}
    return [name for name in params.encoders if name in names]


_sources = cache(Sources)


def code_digest(stage: str, params: Params, task: str = "", strategy: str = "", dataset: str = "") -> str:
    """A digest of a job's code, without comments and docstrings; arguments as of `entries`."""
    return _digest(tuple(entries(stage, params, task, strategy, dataset)))


@cache
def _digest(modules: tuple[str, ...]) -> str:
    return _sources().digest(modules)


def all_digests(params: Params) -> dict[str, Any]:
    """What stands in code.yaml: stage -> digest, or -> task -> digest, or -> task -> strategy -> digest.

    Of stages that read a dataset's card it is "datasets" -> dataset -> stage -> digest. Beside them stand the encoders
    that are `needed`, and `own_source`: all that encoders and pretraining need to know of `dataset`, since by the key
    itself another would begin them anew.
    """
    found: dict[str, Any] = {stage: code_digest(stage, params) for stage in ("encoders", "transcribe", "report")}
    found |= {"needed": needed_encoders(params), "own_source": params.own_source, "datasets": {}}
    for dataset in (params.dataset, params.source):
        place = found["datasets"]
        for part in dataset.split("."):  # as DVC reads a key
            place = place.setdefault(part, {})
        place |= {stage: code_digest(stage, params, dataset=dataset) for stage in ("download", "extract")}
    for stage in ("split", "pretrain"):
        found[stage] = {task: code_digest(stage, params, task) for task in params.task}
    for stage, frame in (("train", []), ("evaluate", [""])):
        found[stage] = {
            task: {
                name or "references": code_digest(stage, params, task, name) for name in [*frame, *params.strategies]
            }
            for task in params.task
        }
    return found


def write_digests(params: Params) -> None:
    """Write code.yaml, unless it says the same already, and keep what was read of the sources."""
    text = yaml.safe_dump(all_digests(params), sort_keys=True)
    if not DIGESTS.is_file() or DIGESTS.read_text(encoding="utf-8") != text:
        write_text(DIGESTS, text)
    _sources().save()


def keep_digests(workflow: Any) -> None:
    """Before a run, not a plan, of Snakemake's own: code.yaml is as DVC's first stage would write it."""
    if workflow.is_main_process and not workflow.output_settings.dryrun and "DVC_STAGE" not in os.environ:
        write_digests(load_params())


@cache
def _stage(name: str) -> dict[str, Any]:
    return yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"][name]


def keys_of(stage: str, task: str | None = None) -> list[str]:
    """Keys of params.yaml that dvc.yaml lists for a stage, with the task in its place and none of another task."""
    others = {known for known in get_args(TaskName) if task is not None and known != task}
    keys = [key for key in _stage(stage)["params"] if isinstance(key, str)]  # code.yaml's are a mapping
    named = [key.replace("${item.task}", task or "${item.task}") for key in keys]
    return [key for key in named if others.isdisjoint(key.split("."))]


def settings(stage: str, params: Params, *without: str, task: str | None = None, strategy: str | None = None) -> str:
    """The params of a stage as JSON, for the `--settings` of its jobs.

    Args:
        stage: name of the stage in dvc.yaml, whose `params` say which keys it depends on.
        params: all params.
        without: keys that say which jobs there are and that no single job depends on.
        task: of a stage that dvc.yaml has for each task.
        strategy: keep only this entry of `strategies`.
    """
    values = select(params, (key for key in keys_of(stage, task) if key not in without))
    if strategy is not None:
        values["strategies"] = {strategy: values["strategies"][strategy]}
    return json.dumps(values, sort_keys=True, separators=(",", ":"))


def main() -> None:
    """Command line: write code.yaml."""
    write_digests(load_params())


if __name__ == "__main__":
    run(main)
