"""CONTRIBUTING, word by word: each of its files is put into a copy of the project, named, and used."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"[Ii]n\s+`([^`]+\.\w+)`:\n\n```\w+\n(.*?)```", re.DOTALL)
FILES = dict(BLOCK.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")))

KNOWN = """
import sys
from pipeline.card import load_card
from pipeline.params import check_params
from pipeline.strict_yaml import read_yaml

values = read_yaml("params.yaml")
values["backbone"]["grounding"] = "univtg_saliency"
values["encoders"] |= {"colours": {"grid": 2}, "fine": {"kind": "colours", "grid": 8}}
values["strategies"] = {"norms": {}}
values["report"]["panels"].append("spread")
check_params(values | {"dataset": "garden"})
assert load_card("garden").metric == "qvhighlights"
assert not {"torch", "open_clip"} & {*sys.modules}
"""

USED = """
from collections import Counter

import numpy as np
import torch

from read.adapters import apply_strategy, trainable_parameters
from read.backbones import build_backbone, load_backbone
from read.data import load_annotations
from read.data.packages import form_of, forms_of
from read.metrics.protocol import get_protocol
from read.plugins import QUERY_LAYOUTS
from read.studio.formats import FORMATS
from read.studio.labels import Label, Window

labels = load_annotations("data/catalog/garden/annotations.jsonl", 2.0)
row = {"qid": 1, "query": "a", "vid": "v", "duration": 9.0, "middle": 3.0, "length": 2.0}
notes = Counter()
assert QUERY_LAYOUTS.load("middle")(row, notes)["relevant_windows"] == [[2.0, 4.0]]
assert QUERY_LAYOUTS.load("middle")(row | {"length": 0}, notes) is None and notes.total() == 1
assert list(form_of(forms_of("one_each"), ["videos/a.npy", "queries/1.npy"]).videos) == ["video"]

rows = [{"qid": 1, "query": "a heron lands", "vid": "pond", "pred_relevant_windows": [[2.0, 4.0, 0.9]],
         "pred_saliency_scores": [0.1, 0.9, 0.2]}]
protocol = get_protocol("windows_only")
assert protocol.choice(rows, labels, 2.0) == protocol.scores(rows, labels, 2.0)["MR-full-mAP"] == 100.0

form = FORMATS["audacity"]
found, mistakes = form.read("2.0\\t4.5\\ta heron lands\\n5\\n", "pond", {"pond": 6.0})
assert [(one.query, one.windows) for one in found] == [("a heron lands", (Window(2.0, 4.5),))]
assert mistakes == ["line 2: the sentence is empty: what happens in the moment?"]
label = Label(1, "pond", "a heron lands", found[0].windows, False, "", "")
assert form.write([label], {}) == "2.0\\t4.5\\ta heron lands\\n"

model = build_backbone("univtg_saliency", video_dim=6, text_dim=5, hidden=8, layers=1, heads=2, feed_forward=8)
model.save("saved")
assert load_backbone("saved").name == "univtg_saliency"
norms = trainable_parameters(apply_strategy("norms", model)).names
assert norms and all(model.get_parameter(name).dim() == 1 for name in norms)
"""

DRAWN = """
import dataclasses
from pathlib import Path

from pipeline.stages.report import build_report
from tests.pipeline.report_workspace import make_results

inputs = make_results(Path("results"), ("grounding",), shots=(8,), videos=2)
build_report(dataclasses.replace(inputs, panels=["spread"]), Path("report"))
page = Path("report/index.html").read_text(encoding="utf-8")
assert "Range over seeds" in page and 'id="chart-grounding-spread"' in page
"""

ENCODED = """
import os
from types import SimpleNamespace

import numpy as np

from pipeline import paths
from pipeline.stages import encoders, extract
from read.bundle import export
from read.data import FeatureStore
from read.encoders.frames import write_video
from read.files import sha256_of, write_json, write_jsonl
from read.predictor import Predictor
from tests import bundles

names = ["slowfast", "clip", "colours"]
os.environ["READ_MACHINE"] = '{"device": "cpu"}'
extraction = SimpleNamespace(fps=8.0, dtype="float32", normalise=True)
settings = SimpleNamespace(clip_len=2.0, extract=extraction, source="mine", domain=None)
encoders.make("colours", SimpleNamespace(**vars(settings), encoders={"clip": {}, "colours": {"grid": 2}}), None)
root = bundles.make_workspace(paths.ENCODERS.parents[1], names=names)

folder = paths.raw("mine")
write_video(folder / "videos/v.mp4", np.random.default_rng(0).integers(0, 255, (48, 64, 64, 3), dtype=np.uint8), 8)
entry = {"file": "v.mp4", "sha256": sha256_of(folder / "videos/v.mp4")}
write_json(folder / "shards/000.json", {"videos": {"v": entry}, "missing": {}})
query = {"qid": 1, "query": "a dog", "vid": "v", "duration": 6.0, "relevant_windows": [[0, 2]]}
write_jsonl(folder / "annotations.jsonl", [query])
settings.encoders = names
extract.extract_shard("mine", "000", settings)
extract.extract_text("mine", settings)
store = FeatureStore(paths.features("mine"))
assert store.spec["joined"] == names
assert store.video("v").shape == (3, 512 + 64 + 12) and store.text(1).shape[1] == 64

bundle = export([bundles.folder_of(root, "read/k2-s0")], "bundle")
assert bundle.encoders == names and (bundle.folder / "encoders/colours/model.safetensors").is_file()
video = Predictor.from_bundle("bundle", "cpu").encode(folder / "videos/v.mp4")
np.testing.assert_allclose(video.features.clips, store.video("v"), atol=1e-6)
assert video.moments("a dog")
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """The project with every file that CONTRIBUTING tells of."""
    folder = tmp_path_factory.mktemp("contributing")
    for name in ("read", "pipeline", "tests", "data/catalog"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "videos"))
    shutil.copy(ROOT / "params.yaml", folder)
    for name, content in FILES.items():
        assert not (folder / name).exists()
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    return folder


def run(copy: Path, code: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(copy)}
    done = subprocess.run([sys.executable, "-c", code], cwd=copy, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_kind_is_one_file():
    """A dataset is a card and its labels."""
    kinds = ["annotations.jsonl", "audacity.py", "card.yaml", "colours.py", "middle.py", "norms.py", "one_each.py",
             "spread.py", "univtg_saliency.py", "windows_only.py"]  # fmt: skip
    assert sorted(Path(name).name for name in FILES) == kinds


def test_what_is_named_is_known_without_its_packages(copy):
    run(copy, KNOWN)


def test_each_file_does_its_work(copy):
    run(copy, USED)


def test_a_panel_is_drawn(copy):
    run(copy, DRAWN)


def test_a_third_encoder_from_its_making_to_the_prediction(copy):
    run(copy, ENCODED)


def test_the_files_are_in_the_style_of_the_house(copy):
    files = [str(copy / name) for name in FILES if name.endswith(".py")]
    configured = ["--config", str(ROOT / "pyproject.toml")]
    for command in (["check"], ["format", "--check"]):
        subprocess.run([sys.executable, "-m", "ruff", *command, *configured, *files], check=True, capture_output=True)
