"""The programs in examples/, run with small models on small videos that are made here."""

import json
import re
import runpy
from pathlib import Path

import numpy as np
import pytest

from read.encoders.frames import write_video
from read.metrics.grounding import evaluate
from tests import video_models as vlm
from tools.notebook import run_cells

DIGITS = re.compile(r"\d+")
EXAMPLES = Path(__file__).parents[1] / "examples"
SECONDS, RATE = 8, 4  # of a video; frames a second


def make_flashes(folder, count):
    """Grey videos in which a colour is shown for some seconds, and a line of labels for each."""
    generator, rows = np.random.default_rng(0), []
    colours = {"red": (220, 40, 40), "blue": (40, 40, 220)}
    for number in range(count):
        name = list(colours)[number % 2]
        start = int(generator.integers(0, SECONDS - 4))
        frames = np.full((SECONDS * RATE, vlm.SIDE, vlm.SIDE, 3), 128, np.uint8)
        frames[start * RATE : (start + 4) * RATE] = colours[name]
        write_video(folder / f"v{number}.mp4", frames, RATE)
        windows = [[float(start), start + 4.0]]
        rows.append({"qid": number, "query": name, "vid": f"v{number}", "duration": 8.0, "relevant_windows": windows})
    (folder / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return rows


@pytest.mark.slow
@pytest.mark.video
@pytest.mark.parametrize("bits", ["16", pytest.param("8", marks=pytest.mark.cluster)])
def test_a_video_language_model_is_trained_and_scored(tmp_path, capsys, bits):
    for package in ("transformers", "torchvision", "accelerate", *(["torchao"] if bits == "8" else [])):
        pytest.importorskip(package)
    kind, strategy = "qwen3_vl", "read_pvla"
    made = make_flashes(tmp_path, 6)
    vlm.make_model(kind).save_pretrained(tmp_path / "model")
    vlm.make_processor(kind).save_pretrained(tmp_path / "model")
    options = {
        "model": tmp_path / "model", "annotations": tmp_path / "labels.jsonl", "videos": tmp_path,
        "out": tmp_path / "out", "size": vlm.SIDE, "epochs": 2, "strategy": strategy, "bits": bits,
    }  # fmt: skip
    main = runpy.run_path(str(EXAMPLES / "video_language_model.py"))["main"]
    main([word for name, value in options.items() for word in (f"--{name}", str(value))])
    printed = capsys.readouterr().out
    assert "4 labels train" in printed
    rows = [json.loads(line) for line in (tmp_path / "out" / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
    truth = [row for row in made if row["vid"] in ("v2", "v5")]
    assert [row["qid"] for row in rows] == [row["qid"] for row in truth]
    figures = {line.rsplit(maxsplit=4)[0]: line.split()[-4:] for line in printed.splitlines()[-3:]}
    brief = evaluate(rows, truth)["brief"]
    assert figures[strategy][:3] == [
        f"{brief[name]:.1f}" for name in ("MR-full-R1@0.5", "MR-full-R1@0.7", "MR-full-mAP")
    ]
    assert figures["the whole video"][0] == "100.0"  # 4 of 8 seconds
    assert 0 < float(figures["random"][3]) < 100
    assert (tmp_path / "out" / "adapter.safetensors").is_file()


def said(notebook):
    """What the cells printed, without digits, which may differ from machine to machine."""
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return [[DIGITS.sub("", "".join(output["text"])) for output in cell["outputs"]] for cell in cells]


@pytest.mark.slow
def test_the_notebook_on_an_own_model_says_what_it_said(capsys):
    pytest.importorskip("peft")
    kept = json.loads((EXAMPLES / "own_model.ipynb").read_text(encoding="utf-8"))
    found = run_cells(kept)
    assert said(found) == said(kept)
    table = "".join("".join(output["text"]) for cell in found["cells"] for output in cell.get("outputs", ()))
    right = {
        name: float(share) for name, share in re.findall(r"^(\w+) +\d+ parameters +([\d.]+)%", table, re.MULTILINE)
    }
    assert right.keys() == {"proj", "lora", "adapter", "read"}
    assert right["read"] > 90 > 85 > max(share for name, share in right.items() if name != "read")
