"""Every benchmark's card through all stages, in this process: real labels, features that are noise."""

import csv
import json
import re
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml

from pipeline import synthetic
from pipeline.annotations import fetch_annotations
from pipeline.card import load_card
from pipeline.code import settings
from pipeline.params import DownloadSettings, Params, check_params, load_params, parse_settings
from pipeline.sources.shards import shard_ids
from pipeline.stages import evaluate, pretrain, report, split
from pipeline.stages.download import list_shard, write_manifest
from pipeline.stages.extract import collect, extract_shard, extract_text
from pipeline.stages.train import train_run
from read.data import load_annotations
from read.errors import InputError
from read.files import read_json, write_jsonl
from tests.pipeline.conftest import ROOT
from tests.pipeline.test_download_package import npz
from tests.pipeline.test_tasks import text_model

ONE = {"bias": {}}
CUT = 24  # rows of a side, of the large benchmarks
FOLDERS = {"qvhighlights": "qvhighlights", "charades_sta": "charades"}


class Bench:
    """A project in a folder, with small models and the mirror of real label files."""

    def __init__(self, folder: Path, mirror: Path) -> None:
        self.folder, self.mirror = folder, mirror
        shutil.copyfile(ROOT / "dvc.yaml", folder / "dvc.yaml")
        shutil.copytree(ROOT / "data" / "catalog", folder / "data" / "catalog")
        small = {"hidden": 16, "layers": 1, "heads": 2, "feed_forward": 16, "steps": 2}
        fast = {"steps": 2, "learning_rates": [0.001], "evaluations": 1, "budget": None}
        values = load_params(ROOT / "params.yaml").model_dump(mode="json")
        for task in ("grounding", "summarization"):
            values["pretrain"][task] |= small
            values["train"][task] |= fast
        values["download"]["shards"] = 2
        values["machine"] |= {"mirror": str(mirror), "device": "cpu"}
        values["evaluate"]["summarization"] |= {"beams": 2, "random_draws": 2}
        strategies = {"read_pvla": {"bottleneck": 4}, "bias": {}}
        self.values = values | {"features": "package", "task": ["grounding"], "strategies": strategies}
        (folder / "params.yaml").write_text(yaml.safe_dump(self.values))

    def params(self, **changes) -> Params:
        return check_params(self.values | changes)

    def call(self, module, *words: str) -> None:
        argv = sys.argv
        sys.argv = [module.__name__, *words]
        try:
            module.main()
        finally:
            sys.argv = argv

    def bring(self, name: str) -> None:
        """The download and the extract stage of a dataset."""
        card, params = load_card(name), self.params(dataset=name)
        assert card.synthetic and card.encoders("package", {"clip": {}}) == []
        download = DownloadSettings.of(params.machine, shards=2, tolerance=params.download.tolerance)
        fetch_annotations(card, download, params.clip_len)
        given = parse_settings(settings("extract", params))
        for shard in shard_ids(2):
            list_shard(card, shard, download)
        write_manifest(card, download)
        for shard in shard_ids(2):
            extract_shard(name, shard, given)
        extract_text(name, given)
        collect(name, given)

    def synthesise(self, name: str) -> None:
        self.call(synthetic, name)
        self.bring(f"{name}-synthetic")

    def split(self, task: str = "grounding", **changes) -> list[dict]:
        params = self.params(task=[task], **changes)
        self.call(split, task, "--settings", settings("split", params, task=task))
        folder = self.folder / "data/splits" / params.dataset / task
        return [read_json(path) for path in sorted(folder.glob("k*.json"))]

    def run(self, task: str = "grounding", **changes) -> "Page":
        """The stages from the split to the report."""
        params = self.params(task=[task], **changes)
        shutil.rmtree("results", ignore_errors=True)
        self.split(task, **changes)
        own = ["--own-source"] * params.own_source
        self.call(pretrain, task, "--settings", settings("pretrain", params, task=task), *own)
        for strategy in params.strategies:
            for seed in params.runs.seeds:
                train_run(
                    task, strategy, params.runs.shots[0], seed, parse_settings(settings("train", params, task=task))
                )
            evaluate.evaluate(task, strategy, parse_settings(settings("evaluate", params, task=task)))
        evaluate.references(task, parse_settings(settings("evaluate", params, task=task)))
        self.call(report, "--settings", settings("report", params))
        return Page()


class Page:
    """The report that was just made."""

    def __init__(self) -> None:
        html = Path("results/report/index.html").read_text(encoding="utf-8")
        html = re.sub(r"<(script|style).*?</\1>", "", html, flags=re.DOTALL)
        self.rows = [
            [" ".join(re.sub("<[^>]+>", "", cell).split()) for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)]
            for row in re.findall(r"<tr.*?</tr>", html, re.DOTALL)
        ]
        self.text = " ".join(re.sub("<[^>]+>", " ", html).split())
        with Path("results/report/scores.csv").open(newline="") as file:
            self.scores = {
                (row["strategy"], row["kind"], row["metric"]): float(row["mean"]) for row in csv.DictReader(file)
            }

    @property
    def banners(self) -> list[str]:
        return [word for word in ("Features are synthetic", "Optimistic") if word in self.text]


@pytest.fixture(scope="module")
def benches(mirror, tmp_path_factory) -> Bench:
    """TVSum and YouTube Highlights, brought once."""
    bench = Bench(tmp_path_factory.mktemp("benchmarks"), mirror)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(bench.folder)
        bench.synthesise("tvsum")
        bench.synthesise("youtube_highlights")
    return bench


@pytest.fixture
def bench(benches, monkeypatch) -> Bench:
    monkeypatch.chdir(benches.folder)
    return benches


def of_tvsum(**changes) -> dict:
    """Settings of a run on TVSum."""
    named = {"dataset": "tvsum-synthetic", "source": "youtube_highlights-synthetic"}
    return named | {"runs": {"shots": [3], "seeds": [0]}} | changes


def per_domain(bench) -> dict:
    return {"split": bench.values["split"] | {"shots_per": "domain"}}


def sides_of(dataset: str) -> dict[str, set[str]]:
    annotations = load_annotations(Path("data/raw", dataset, "annotations.jsonl"), 2.0)
    return {side: {a.vid for a in annotations if a.split == side} for side in ("train", "val", "test")}


def test_tvsum_honest(bench):
    changes = of_tvsum() | per_domain(bench)
    page = bench.run(**changes)
    sides = sides_of("tvsum-synthetic")
    for one in bench.split(**changes | {"runs": {"shots": [3], "seeds": [0, 1, 2, 3]}}):
        assert (len(one["train"]), len(one["val"]), set(one["test"])) == (30, 10, sides["val"])
        assert {*one["train"], *one["val"]} == sides["train"]
        assert not one["optimistic"]
    level = "HL-top5-mAP"
    assert page.scores["random", "all", level] == pytest.approx(42.5, abs=1.0)
    assert page.scores["oracle", "all", level] == pytest.approx(84.35, abs=0.005)
    assert 20 < page.scores["read_pvla", "all", level] < 65  # ten videos of noise
    domains = ["BK", "BT", "DS", "FM", "GA", "MS", "PK", "PR", "VT", "VU"]
    assert ["strategy", *domains, "mean of kinds"] in page.rows
    table = {row[0]: row[1:] for row in page.rows if len(row) == 12}
    assert {"random", "zero-shot", "bias", "read-pvla", "oracle"} <= table.keys()
    assert table["oracle"][0] == "91.0" and table["random"][-1] == f"{page.scores['random', 'all', level]:.1f}"
    assert page.banners == ["Features are synthetic"]
    assert "the scores rest on 10 of 10 test videos and 10 queries" in page.text


def test_over_seeds_each_of_a_domains_four_is_left_out(bench):
    splits = bench.split(**of_tvsum(runs={"shots": [3], "seeds": [0, 1, 2, 3]}) | per_domain(bench))
    assert {vid for one in splits for vid in one["val"]} == sides_of("tvsum-synthetic")["train"]


def test_tvsum_as_papers_do(bench):
    page = bench.run(**of_tvsum(protocol="paper"), strategies=ONE)
    one = bench.split(**of_tvsum(protocol="paper"))[0]
    assert one["optimistic"] and set(one["val"]) == set(one["test"])
    assert page.banners == ["Features are synthetic", "Optimistic"]


def test_tvsum_from_nine_domains_to_one(bench):
    changes = {"protocol": "transfer", "domain": "BK", "source": "tvsum-synthetic"}
    page = bench.run(**of_tvsum(**changes), strategies=ONE)
    one = bench.split(**of_tvsum(**changes))[0]
    assert (len(one["train"]), len(one["val"]), len(one["test"]), len(one["source"])) == (3, 1, 1, 36)
    assert "the scores rest on 1 of 1 test videos" in page.text
    assert page.scores["oracle", "all", "HL-top5-mAP"] == pytest.approx(91.0, abs=0.05)
    assert page.banners == ["Features are synthetic"]


@pytest.mark.parametrize(
    ("options", "different"),
    [(("--layout", "umt"), "encoders, joined, package, text"), (("--width", "8"), "encoders, text")],
)
def test_a_source_of_other_features_is_refused(bench, options, different):
    shutil.copytree("data/catalog/tvsum", "data/catalog/other", dirs_exist_ok=True)
    bench.call(synthetic, "other", *options)
    bench.bring("other-synthetic")
    with pytest.raises(
        InputError, match=rf"other features than these \({different}\); run pretrain again, on a source"
    ):
        bench.run(**of_tvsum(dataset="other-synthetic"))


def spoil(package: Path, gone: set[str], damaged: str) -> None:
    """Take videos out of a package, and put a NaN into one."""
    whole = package.read_bytes()
    old = package.with_suffix(".old")
    old.write_bytes(whole)
    with zipfile.ZipFile(old) as source, zipfile.ZipFile(package, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name == f"clip_features/{damaged}.npz":
                data = npz(features=np.full((7, 16), np.nan, np.float32))
            if Path(name).stem not in gone:
                target.writestr(name, data)


def test_youtube_on_a_package_that_lacks_videos(bench):
    sides = {side: sorted(vids) for side, vids in sides_of("youtube_highlights-synthetic").items()}
    gone, damaged = {sides["train"][0], *sides["val"][:2]}, sides["val"][5]
    spoil(Path("data/manual/youtube_highlights-synthetic.zip"), gone, damaged)
    bench.bring("youtube_highlights-synthetic")
    named = {"dataset": "youtube_highlights-synthetic", "source": "tvsum-synthetic"}
    page = bench.run(**named, strategies=ONE, runs={"shots": [12], "seeds": [0]})
    one = bench.split(**named, runs={"shots": [12], "seeds": [0]})[0]
    assert set(one["test"]) == {*sides["val"]} - gone - {damaged}
    assert not {*one["val"], *one["train"]} & {*sides["val"]}
    assert "the scores rest on 149 of 152 test videos and 149 queries" in page.text
    assert "Of the dataset’s 385 videos, 4 could not be had or read" in page.text
    listed = {row[0]: row[1:] for row in page.rows if row and row[0] in gone | {damaged}}
    assert len(listed) == 4
    assert listed[damaged][:2] == ["1", "val"] and "7 of its 7 rows are not finite numbers" in listed[damaged][2]
    assert page.scores["random", "all", "HL-mAP"] == pytest.approx(50.5, abs=2.0)
    assert page.scores["oracle", "all", "HL-mAP"] == 100.0
    assert len([key for key in page.scores if key[0] == "bias" and key[2] == "HL-mAP"]) == 8  # 6 domains, mean and all


@pytest.mark.parametrize(
    ("name", "metric", "reported"), [("qvhighlights", "MR-full-mAP", "test"), ("charades_sta", "R1@0.5", "test")]
)
def test_the_first_rows_of_a_large_benchmark(bench, name, metric, reported):
    card = yaml.safe_load(Path("data/catalog", name, "card.yaml").read_text())
    parts = []
    for part in card["annotations"]:
        file = Path(part["url"]).name
        lines = (bench.mirror / FOLDERS[name] / file).read_text(encoding="utf-8").splitlines()[:CUT]
        write_jsonl(Path("data/catalog", f"{name}-cut", file), [json.loads(line) for line in lines])
        parts.append({"file": file, "split": part["split"]})
    Path("data/catalog", f"{name}-cut", "card.yaml").write_text(yaml.safe_dump(card | {"annotations": parts}))
    bench.synthesise(f"{name}-cut")
    named = {"dataset": f"{name}-cut-synthetic", "source": "tvsum-synthetic"}
    page = bench.run(**named, runs={"shots": [2], "seeds": [0]})
    one = bench.split(**named, runs={"shots": [2], "seeds": [0]})[0]
    assert set(one["test"]) == sides_of(named["dataset"])[reported]
    assert page.scores["random", "all", metric] < 40 and page.scores["oracle", "all", metric] > 99
    assert page.banners == ["Features are synthetic"]


def test_how2_with_a_published_model(bench, tmp_path):
    """As its instructions say, with invented texts; the source is the dataset itself, since nothing trains on it."""
    with pytest.raises(InputError, match=r"must be there\nHow2's videos are mostly gone"):
        bench.call(synthetic, "how2")
    said = ("dog", "owl", "cat", "fox")
    for side, count in (("sum_train", 8), ("sum_cv", 4), ("sum_devtest", 4)):
        folder = Path("data/manual/how2", side)
        folder.mkdir(parents=True)
        for file, text in (("tran.tok.txt", "we see nothing of the"), ("desc.tok.txt", "the")):
            lines = [f"{side}{n} {text} {said[n % 4]}{' sleeps' * (text == 'the')}\n" for n in range(count)]
            (folder / file).write_text("".join(lines))
    features = Path("data/manual/how2/video_action_features")
    features.mkdir()
    for n, vid in enumerate(f"{side}{n}" for side in ("sum_train", "sum_cv", "sum_devtest") for n in range(8)):
        np.save(features / f"{vid}.npy", np.random.default_rng(n).normal(size=(5 + n, 2048)).astype(np.float32))
    card = Path("data/catalog/how2/card.yaml")
    card.write_text(card.read_text() + "\nsynthetic: true\n")
    bench.bring("how2")
    backbone = {"grounding": "univtg", "summarization": text_model("bart", tmp_path / "bart")}
    bench.values["pretrain"]["summarization"]["steps"] = 0
    named = {"dataset": "how2", "source": "how2", "backbone": backbone}
    page = bench.run("summarization", **named, runs={"shots": [4], "seeds": [0]})
    one = bench.split("summarization", **named, runs={"shots": [4], "seeds": [0]})[0]
    assert [all(vid.startswith(side) for vid in one[key]) for key, side in
            (("train", "sum_train"), ("val", "sum_cv"), ("test", "sum_devtest"))] == [True] * 3  # fmt: skip
    assert "the scores rest on 4 of 4 test videos" in page.text
    assert page.banners == ["Features are synthetic"]
    assert {"lead", "shuffled", "zero_shot", "bias", "read_pvla"} == {key[0] for key in page.scores}
