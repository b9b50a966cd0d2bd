"""Benchmarks run, at small sizes; what they measure is theirs to say."""

import inspect
from importlib import import_module

import numpy as np
import pytest
import torch

from benchmarks import __main__ as command
from benchmarks import bar, measure, names, scale
from read.data import Annotation, Sample

SMALL = {
    "adapters": ["--backbone", "qd_detr", "--size", "small", "--batch", "2", "--repeats", "1", "--device", "cpu"],
    "decoders": ["--rounds", "1", "--seconds", "2"],
    "extraction": ["--rounds", "1", "--seconds", "2", "4", "--longer", "1"],
    "metrics": ["--repeats", "1"],
    "predict": ["--seconds", "4", "--repeats", "1"],
    "scale": ["--sizes", "40", "80", "--clips", "6", "--parts", "epoch"],
    "summarization": ["--size", "small", "--batch", "2", "--repeats", "1", "--device", "cpu"],
    "transport": ["--shape", "2", "6", "4", "8", "--rounds", "2", "--repeats", "1", "--device", "cpu"],
}
SAID = {
    "adapters": "full fine-tuning", "decoders": "all         ffmpeg", "extraction": "ratio",
    "metrics": "1550 queries", "predict": "a further query", "scale": "over n log n",
    "summarization": "generation",
    "transport": "released / read exact",
}  # fmt: skip


def test_all_take_arguments():
    assert set(SMALL) <= set(names())
    for name in names():
        main = getattr(import_module(f"benchmarks.{name}"), "main", None)
        assert main is None or list(inspect.signature(main).parameters) == ["argv"]


@pytest.mark.parametrize("name", SMALL)
def test_a_small_run(name, capsys):
    import_module(f"benchmarks.{name}").main(SMALL[name])
    assert SAID[name] in capsys.readouterr().out


def test_what_grows_is_measured_of_each_part(tmp_path):
    scale.make_data(tmp_path, 40, clips=6, dim=8)
    for part in ("open", "split", "leaks", "scores"):
        (row,) = scale.PARTS[part](tmp_path)
        assert row["part"] == part and row["seconds"] >= 0 and row["mb"] > 50


def test_a_bar_is_chosen_on_some_videos_and_counted_on_the_others():
    """Where right answers score above .6 and all others below, nothing is denied and nothing absent is answered."""
    dice = np.random.default_rng(0)
    samples = [
        Sample.labelled(torch.ones(2, 2), torch.ones(1, 2),
               Annotation(f"{vid}-{n}", f"query {vid} {n}", f"v{vid}", 4.0, ((0.0, 2.0),), (), ()), 2.0)
        for vid in range(12) for n in range(4)
    ]  # fmt: skip
    own = {(sample.vid, sample.question.query) for sample in samples}
    answers = {
        (video.vid, query.question.query): [[0.0, 2.0, dice.uniform(0.6, 1)]]
        if (video.vid, query.question.query) in own
        else [[0.0, 2.0, dice.uniform(0, 0.6)]]
        for video in samples
        for query in samples
    }
    answers = {key: {"qid": 0, "vid": key[0], "pred_relevant_windows": found} for key, found in answers.items()}
    rows = bar.draws(samples, answers, 5, 20)
    assert all((row["found"], row["videos"], row["answered_absent"]) == (28, 7, 0) for row in rows)
    assert all(0.6 < row["bar"] < 0.8 for row in rows)
    assert np.mean([row["denied"] for row in rows]) < 2.8  # the lowest of 20: one of 21 lies below
    assert all(row["bar"] is None and row["denied"] == 0 for row in bar.draws(samples, answers, 2, 3))  # of 8 right
    assert bar.draws(samples, answers, 12, 3) == []


def test_a_module_without_main_is_no_benchmark(monkeypatch, capsys):
    monkeypatch.setattr("benchmarks.import_module", lambda name: inspect)
    measure("inspect")
    assert capsys.readouterr().out == ""


def test_all_run_and_a_failure_is_told(monkeypatch, capfd):
    monkeypatch.setattr(command, "names", lambda: ["absent", "metrics"])
    assert command.main() == 1
    said = capfd.readouterr().out
    assert SAID["metrics"] in said and "failed: absent" in said
