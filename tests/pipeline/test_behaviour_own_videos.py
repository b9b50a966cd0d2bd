"""From labels of one's own to a bundle that answers, by a notebook that goes on with a run that was killed."""

import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from read import Predictor
from read.files import read_json, read_jsonl, write_json
from read.studio.card import find_or_make_card
from read.studio.labels import Labels, Window
from read.studio.training import ENDED_UNTOLD, Training

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
FIRST = "from pathlib import Path\n\nfolder = Path({folder!r})\nsentences = {sentences!r}"


@pytest.fixture
def own(half, tmp_path):
    """A folder with five videos of the tiny benchmark, and sentences with their windows."""
    folder = tmp_path / "my videos"
    folder.mkdir()
    raw = half.folder / "data/raw/montage"
    rows, sentences = read_jsonl(raw / "annotations.jsonl"), []
    for vid in sorted({row["vid"] for row in rows})[:5]:
        shutil.copy(raw / f"videos/{vid}.mp4", folder)
        sentences += [(vid, row["query"], row["relevant_windows"]) for row in rows if row["vid"] == vid][:2]
    return folder, sentences


def run_notebook(half, out: Path, first: str) -> list[str]:
    """What the cells of the notebook print; the first cell of code says something else."""
    notebook = read_json(ROOT / "examples/own_videos.ipynb")
    next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")["source"] = [first]
    write_json(out, notebook)
    half.environment["PYTHONPATH"] = str(half.folder)
    half.run(sys.executable, str(ROOT / "tools/notebook.py"), str(out))
    cells = [cell for cell in read_json(out)["cells"] if cell["cell_type"] == "code"]
    return ["".join(cell["outputs"][0]["text"]) for cell in cells[1:]]


def test_from_labels_over_a_kill_to_a_bundle_that_answers(half, own, tmp_path):
    folder, sentences = own
    place = find_or_make_card(half.folder, folder)
    labels = Labels(place.folder)
    for vid, query, windows in sentences:
        labels.add(vid, query, [Window(*window) for window in windows], None)
    kept = labels.all()
    labels.close()
    training = Training(half.folder, place.name, half.folder / ".studio" / place.name, cores=2)
    plan = training.plan(kept)
    assert (plan.labelled, plan.train, plan.test, plan.shots, plan.why) == (5, 3, 2, [2], "")
    assert plan.changes == [("dataset", "montage", place.name)]

    log = half.folder / "logs/train/grounding/read/k2-s0.log"
    log.unlink()
    training.start(kept)
    while not log.exists():
        assert training.status(kept)["state"] == "running", training.log(50)
        time.sleep(0.05)
    os.killpg(read_json(training.cache / "run.json")["pid"], signal.SIGKILL)
    while (told := training.status(kept))["state"] == "running":
        time.sleep(0.05)
    assert (told["state"], told["error"], told["can"]) == ("stopped", ENDED_UNTOLD, True)
    assert 0 < told["share"] < 1
    finished = {path: path.stat().st_mtime_ns for path in (half.folder / f"data/features/{place.name}").iterdir()}

    said = run_notebook(half, tmp_path / "own.ipynb", FIRST.format(folder=str(folder), sentences=sentences))
    assert {path: path.stat().st_mtime_ns for path in finished} == finished  # gone on with, not begun anew
    sides, planned, ran, worth, asked = said
    assert place.name in sides and planned == "3 videos to learn from, 2 to test on; shots [2]\n"
    assert ran.startswith("done \njobs that were due: train ")
    told = training.status(kept)
    verdict, runs = told["verdict"], half.folder / f"results/runs/{place.name}/grounding"
    rows = read_jsonl(runs / "read/k2-s0/predictions.jsonl")
    assert told["state"] == "done" and training.report.read_text().count("<html") == 1
    assert f"of {len(rows)} test queries found" in verdict["sentence"] and "on 2 videos" in verdict["sentence"]
    assert worth.splitlines()[0] == verdict["sentence"] and asked.split(":")[0] in {row["vid"] for row in rows}
    values = {row["name"]: row["value"] for row in verdict["rows"]}
    assert {"random", "cosine", "zero-shot", "read"} <= values.keys()
    assert values["read"] == read_json(runs / "read/k2-s0/scores.json")["scores"][verdict["metric"]]

    predictor = Predictor.from_bundle(training.bundle, device="cpu")
    for vid in {row["vid"] for row in rows}:
        predicted = [row for row in rows if row["vid"] == vid]
        answers = predictor.encode(folder / f"{vid}.mp4").answer([row["query"] for row in predicted])
        for answer, row in zip(answers, predicted, strict=True):
            assert [list(moment) for moment in answer.moments] == row["pred_relevant_windows"]
