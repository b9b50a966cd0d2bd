"""What DVC vouches for is told to Snakemake; what is of unknown making is taken away, or, in a plan, taken as absent.

Snakemake is told where it judges which jobs are due, so that a plan can be told without a change to any file.
"""

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.code import all_digests
from pipeline.engine import aside, dvc, records
from pipeline.params import load_params
from read.errors import InputError


@dataclass(frozen=True)
class Verdict:
    """What is known of the artifacts.

    Attributes:
        settled: dvc.lock has everything as it stands.
        vouched: files that their stages, as they are now, would make the same.
        unknown: whether Snakemake's records lack some of these. Where all is settled it goes by DVC in any case: what
            came out the same may have a new time.
        lost: files of unknown making.
        missing: files that dvc.lock has of stages as they are now, and that are gone.
    """

    settled: bool = False
    vouched: frozenset[Path] = frozenset()
    unknown: bool = False
    lost: list[Path] = field(default_factory=list)
    missing: list[Path] = field(default_factory=list)


def judge() -> Verdict:
    """Ask DVC what of the artifacts is as dvc.lock has it.

    Raises:
        InputError: dvc.lock is not whole, or a file that came from DVC's cache is not what dvc.lock says.
    """
    stages = dvc.locked_stages()
    if not any(out.exists() for stage in stages.values() for out in stage.outs):
        return Verdict()
    changed, code = dvc.changes(), all_digests(load_params())
    settled = not changed
    vouched, unknown, lost, missing = set(), False, [], []
    for name, stage in stages.items():
        same = is_same(name, stages, changed, code)
        settled = settled and same
        differs = _named(changed.get(name, []), "changed outs")
        for out, digest in stage.outs.items():
            found = list(records.artifacts(out)) if out.is_dir() else [out] if out.is_file() else []
            strange = [path for path in found if not records.is_known(path)]
            listed = dvc.files_of(out, digest) if same else None
            if listed is None:
                good = found if same and out not in differs else []
            else:
                check = found if out in differs else strange
                right = {path for path in check if listed.get(path) == aside.md5_of(path)}
                if out not in differs and (wrong := set(check) - right):
                    raise _damaged(sorted(wrong))
                good = right if out in differs else found
                missing += [path for path in listed if not path.exists()]
            vouched |= set(good)
            unknown = unknown or any(path in vouched for path in strange)
            lost += [path for path in strange if path not in vouched]
    return Verdict(settled, frozenset(vouched), unknown, lost, missing)


def is_same(
    name: str, stages: Mapping[str, dvc.LockedStage], changed: Mapping[str, list[Any]], code: Mapping[str, Any]
) -> bool:
    """Whether a stage and all before it would make again what dvc.lock has of it, whatever lies in its folder.

    Args:
        name: of the stage.
        stages: what dvc.lock has.
        changed: what differs from it, by `dvc status`.
        code: the digests of the code as it is, as in code.yaml.
    """
    entry = changed.get(name, [])
    if any(isinstance(part, str) for part in entry):
        return False  # its command
    makers = {out: maker for maker, stage in stages.items() for out in stage.outs}
    if any(differs_from(digest, code, key) for key, digest in stages[name].code.items()):
        return False
    inputs = {dep: makers[dep] for dep in stages[name].deps if dep in makers}
    if _named(entry, "changed deps") - inputs.keys():
        return False  # its params, or what a person brought
    return all(
        stages[name].deps[dep] == stages[maker].outs[dep] and is_same(maker, stages, changed, code)
        for dep, maker in inputs.items()
    )


def differs_from(recorded: Any, code: Mapping[str, Any], key: str) -> bool:
    """Whether the code behind a key of code.yaml is other than recorded; no longer asked for is not other."""
    for part in key.split("."):
        if part not in code:
            return False
        code = code[part]
    return code != recorded


def tell(verdict: Verdict, dry: bool) -> None:
    """Tell Snakemake, once it has its jobs and before it judges them; until then, clear away what must go."""
    from snakemake.dag import DAG

    if not dry:
        aside.put_aside(verdict.lost)
        if not verdict.settled:
            records.RECORDED.unlink(missing_ok=True)
    original = DAG.update_needrun

    async def update_needrun(dag: Any, create_inventory: bool = False) -> None:
        if create_inventory:
            await _tell(dag, verdict, dry)
        await original(dag, create_inventory)

    DAG.update_needrun = update_needrun


async def _tell(dag: Any, verdict: Verdict, dry: bool) -> None:
    cache, now = dag.workflow.iocache, time.time()
    absent = {path.as_posix() for path in [*verdict.lost, *([] if verdict.settled else [records.RECORDED])]}
    adopted = []
    for job in dag.jobs:
        for file in job.output:
            if str(file) in absent or any(Path(file) in path.parents for path in verdict.missing):
                cache.exists_local[file] = False
        if (
            job.output
            and (verdict.unknown or verdict.settled)
            and all(_vouched(Path(file), verdict.vouched) for file in job.output)
        ):
            adopted.append(job)
    marks = [job for job in dag.jobs if verdict.settled and records.RECORDED.as_posix() in map(str, job.output)]
    for job in adopted:
        for file in (*job.output, *filter(None, [job.benchmark])):  # by whose times, too, Snakemake judges a job
            _set_time(file, now, cache, dry)
    if marks and not dry:
        records.mark_recorded()
    for job in marks:
        for file in job.output:
            cache.exists_local[file] = True
            _set_time(file, now, cache, dry)
    await _record(dag, [*adopted, *marks], dry)


async def _record(dag: Any, jobs: list[Any], dry: bool) -> None:
    """Let Snakemake record the outputs of jobs as they stand; in a plan, let it know no older records of them."""
    if not dry:
        dag.update_jobids()  # the record has the command, which may show them
        for job in jobs:
            await dag.workflow.persistence.finished(job)
        return
    names, read = {str(file) for job in jobs for file in job.output}, dag.workflow.persistence._read_record
    dag.workflow.persistence._read_record = lambda key: None if key in names else read(key)


def _set_time(file: Any, now: float, cache: Any, dry: bool) -> None:
    from snakemake_interface_storage_plugins.io import Mtime

    path = Path(file)
    cache.mtime[file] = Mtime(local=now)
    if not dry and path.exists():
        for place in (path, *([path / records.STAMP] if path.is_dir() else [])):
            place.touch()
            os.utime(place, (now, now))


def _vouched(output: Path, vouched: frozenset[Path]) -> bool:
    files = list(records.artifacts(output)) if output.is_dir() else [output]
    return bool(files) and all(path in vouched for path in files)


def _named(entry: list[Any], kind: str) -> set[Path]:
    """The paths that `dvc status` names under one heading."""
    return {Path(path) for part in entry if isinstance(part, dict) for path in part.get(kind, {})}


def _damaged(paths: list[Path]) -> InputError:
    listed: Iterator[str] = (f"  {path}" for path in paths[:10])
    return InputError(
        "DVC takes these files as what dvc.lock records, but their content is other; its cache may be damaged. Remove "
        "them and `.dvc/cache`, then bring them back with `dvc pull`, or remove them and run again:\n"
        + "\n".join(listed)
    )
