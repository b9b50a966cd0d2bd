"""Seconds that Snakemake takes to plan a dataset of 10,000 videos, and to see that a finished run has nothing to do.

    python -m benchmarks.planning
    python -m benchmarks.planning --videos 100000 --shards 1000

The plan is of a project without artifacts, made in a temporary folder. The second number is measured in this checkout,
where a finished run stands in it.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

from read.files import write_jsonl

ROOT = Path(__file__).parents[1]
SOURCES = ("Snakefile", "dvc.yaml", "params.yaml", "pipeline", "read", "profiles", "data/catalog")


def main(argv: Sequence[str] | None = None) -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=10_000)
    parser.add_argument("--shards", type=int, default=100)
    parser.add_argument("--queries", type=int, default=5, help="of each video")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        make_project(Path(folder), options.videos, options.shards, options.queries)
        seconds, text = snakemake(Path(folder), "-n")
    jobs = text.rpartition("total")[2].split()[0]
    print(f"plan of {options.videos} videos in {options.shards} shards, {jobs} jobs: {seconds:.1f} s")
    if (ROOT / "results/report/index.html").is_file():
        seconds, text = snakemake(ROOT, "-n")
        if "Nothing to be done" in text:
            print(f"a finished run, nothing to do: {snakemake(ROOT)[0]:.1f} s")
            return
    print("no finished run in this checkout: nothing to measure a second run by")


def make_project(folder: Path, videos: int, shards: int, queries: int) -> None:
    """A copy of this checkout's pipeline whose dataset is a folder of so many videos, which need not be there."""
    for name in SOURCES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        copy(ROOT / name, folder / name)
    card = folder / "data/catalog/large"
    card.mkdir()
    values = {"title": "large", "licence": "none", "annotations": "annotations.jsonl"}
    (card / "card.yaml").write_text(yaml.safe_dump(values | {"videos": {"source": "local", "folder": "videos"}}))
    rows = [
        {"qid": number, "query": "a dog", "vid": f"video{number // queries}", "duration": 150.0,
         "relevant_windows": [[2, 8]]}
        for number in range(videos * queries)
    ]  # fmt: skip
    write_jsonl(card / "annotations.jsonl", rows)
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["dataset"], params["download"]["shards"] = "large", shards
    (folder / "params.yaml").write_text(yaml.safe_dump(params))


def snakemake(folder: Path, *arguments: str) -> tuple[float, str]:
    """Seconds of one Snakemake command and what it printed."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "snakemake", *arguments]
    done = subprocess.run(command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        raise RuntimeError(f"snakemake failed:\n{done.stdout}")
    return time.perf_counter() - began, done.stdout


if __name__ == "__main__":
    main()
