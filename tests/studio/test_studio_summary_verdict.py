"""What a training was worth for summaries, on results small enough to count by hand."""

import json

import pytest

from read.errors import InputError
from read.files import write_json, write_jsonl, write_text
from read.studio.results import CHANGED, ranked
from read.studio.summary_verdict import sentence, tell_summaries
from read.studio.verdict import pack
from tests.studio.test_studio_verdict import make_results

METRIC = "ROUGE-L-whitespace"
FLOORS = [("shuffled", 20.0, "the summary of another test video"), ("lead", 5.0, "the transcript's first sentence")]


def make_summaries(working, *, test=("b", "c"), seeds=(0, 1)):
    """Two strategies that write, the floors, and a report with an interval of one of them."""
    rows = [{"vid": vid, "transcript": "t", "summary": f"about {vid}"} for vid in "abcd"]
    write_jsonl(working / "data/raw/mine/summaries.jsonl", rows)
    runs, adapters = (working / folder / "mine/summarization" for folder in ("results/runs", "models/adapters"))
    write_json(runs / "references.json", {name: {"scores": {METRIC: value}} for name, value, _ in FLOORS})
    write_json(runs / "zero_shot/k0-s0/scores.json", {"shots": 0, "seed": 0, "scores": {METRIC: 8.0}})
    for name, chosen, tested in (("read", 60, 30.0), ("lora", 50, 90.0)):
        write_json(working / f"results/report/metrics/summarization/{name}-k4.json", {METRIC: tested, "BLEU-4": 1})
        for seed in seeds:
            row = {"strategy": name, "shots": 4, "seed": seed, "train_videos": 4, "scores": {METRIC: tested + seed}}
            write_json(runs / name / f"k4-s{seed}/scores.json", row)
            write_jsonl(
                runs / name / f"k4-s{seed}/predictions.jsonl", [{"vid": vid, "summary": "about"} for vid in test]
            )
            record = {"shots": 4, "seed": seed, "share": 0.1, "val_score": chosen}
            write_json(adapters / name / f"k4-s{seed}/run.json", record)
    write_json(adapters / "runs.json", [f"{name}/k4-s{seed}" for name in ("lora", "read") for seed in seeds])
    told = "summarization,read,4,2,all,{metric},30.5,0.5,{low},36.25\n"
    lines = [
        told.format(metric=METRIC, low=24.75),
        told.format(metric="BLEU-4", low=1),
        "summarization,lead,,,all,x,5,,,\n",
    ]
    write_text(
        working / "results/report/scores.csv",
        "task,strategy,shots,seeds,kind,metric,mean,std,low,high\n" + "".join(lines),
    )
    write_json(working / "results/report/takeaways.json", {"summarization": [
        {"title": "Short", "text": "It is.", "caution": True}, {"title": "Good", "text": "So.", "caution": False},
    ]})  # fmt: skip


def test_a_verdict_tells_the_reports_score_beside_what_needs_no_training(tmp_path):
    make_summaries(tmp_path)
    best, runs = ranked(tmp_path, "mine", "summarization")
    assert best == "read" and [(run.label, run.draw) for run in runs] == [("read", "k4-s0"), ("lora", "k4-s0")]
    told = tell_summaries(tmp_path, "mine", best)
    assert told["sentence"] == (
        "ROUGE-L-whitespace 30.5 (100 would be your own words in your own order, 0 none of them) on 2 test videos that "
        "nothing was learned from; 24.8 to 36.2 (95 % interval, 2 seeds). Without training: the summary of another "
        "test video 20.0, the transcript's first sentence 5.0, the model before training 8.0. The whole interval lies "
        "above these."
    )
    rows = {row["name"]: (row["value"], row["note"]) for row in told["rows"]}
    assert [*rows] == ["shuffled", "lead", "zero-shot", "lora", "read"] and told["metric"] == METRIC
    trained = "trained on 4 labelled videos, mean over 2 seeds"
    assert rows["read"] == (30.5, f"{trained}; 24.8 to 36.2 (95 %)") and rows["lora"] == (90.5, trained)
    assert told["cautions"] == [
        "Few summaries were tested: 2 videos. Differences of a few points are chance.", "Short. It is.",
    ]  # fmt: skip
    assert told["strategy"] == "read"
    json.dumps(told)


@pytest.mark.parametrize(
    ("score", "interval", "told"),
    [
        (19.0, (15.0, 23.0), "It is no better than the summary of another test video."),
        (20.0, None, "It is no better than the summary of another test video."),
        (25.0, None, "by one seed. Without"),
        (25.0, None, "Whether another seed would lead as well is not known."),
        (25.0, (20.0, 30.0), "Its lead over the summary of another test video may be chance"),
        (25.0, (20.1, 29.9), "The whole interval lies above these."),
    ],
)
def test_a_lead_is_claimed_only_where_the_interval_shows_it(score, interval, told):
    found = sentence("BLEU-4", score, interval, 3, 40, FLOORS)
    assert told in found and found.startswith(f"BLEU-4 {score:.1f} on 40 test videos")


def test_the_verdict_of_both_tasks_is_packed_as_one(tmp_path, monkeypatch):
    make_results(tmp_path)
    told = json.loads((tmp_path / "results/report/takeaways.json").read_text())
    make_summaries(tmp_path)
    write_json(tmp_path / "results/report/takeaways.json", told)
    write_text(tmp_path / "params.yaml", "dataset: mine\ntask: [grounding, summarization]\n")
    write_text(tmp_path / "results/report/index.html", "the report")
    packed = []
    monkeypatch.setattr("read.bundle.pack.export", lambda runs, draft: packed.append(runs) or draft.mkdir())
    pack(tmp_path, "mine", tmp_path / "cache")
    found = json.loads((tmp_path / "cache/verdict.json").read_text())
    assert found["strategy"] == "read" and found["summaries"]["metric"] == METRIC
    assert [run.parts[-3:-1] for run in packed[0]] == [
        ("grounding", "read"), ("grounding", "full"), ("grounding", "lora"), ("summarization", "read"),
        ("summarization", "lora"),
    ]  # fmt: skip
    assert CHANGED not in found["summaries"]["cautions"]
    make_summaries(tmp_path, test=("b", "d"))
    write_json(tmp_path / "results/report/takeaways.json", told)
    pack(tmp_path, "mine", tmp_path / "cache")
    again = json.loads((tmp_path / "cache/verdict.json").read_text())
    assert again["summaries"]["cautions"][0] == CHANGED and CHANGED not in again["cautions"]
    write_text(tmp_path / "params.yaml", "dataset: mine\ntask: [grounding]\n")
    pack(tmp_path, "mine", tmp_path / "cache")
    assert "summaries" not in json.loads((tmp_path / "cache/verdict.json").read_text())


def test_predictions_of_other_summaries_are_no_result(tmp_path):
    make_summaries(tmp_path, test=("b", "z"))
    with pytest.raises(InputError, match=r"predictions.jsonl: is not of these summaries"):
        tell_summaries(tmp_path, "mine", "read")
