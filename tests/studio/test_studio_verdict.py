"""What a training was worth, on results small enough to count by hand."""

import json
from math import sqrt

import pytest

from read.errors import InputError
from read.files import write_json, write_jsonl
from read.studio.results import CHANGED, ranked
from read.studio.verdict import Findings, found_by, outlook, pack, sentence, tell

METRIC = "MR-full-mAP"


def curve(*points: tuple[int, list[int]], queries: int = 40) -> list:
    return [(shots, [Findings(count, queries, 9) for count in counts]) for shots, counts in points]


@pytest.mark.parametrize(
    ("points", "told"),
    [
        # gains of 4 and 5 exceed every spread; the last, per doubling once more
        ([(8, [10, 11]), (16, [14, 15]), (32, [19, 20])], "With 8 more labelled videos to train on, expect about 21 "),
        ([(2, [10, 10]), (4, [14, 14]), (8, [18, 18])], "With 8 more labelled videos to train on, expect about 22 "),
        ([(1, [10, 10]), (2, [14, 14]), (4, [18, 18])], "With 4 more labelled videos to train on, expect about 22 "),
        ([(2, [30, 30]), (4, [36, 36]), (8, [39, 39])], "expect about 40 "),  # of 40
        ([(2, [10, 10]), (4, [14, 14]), (8, [14, 14])], "does not tell"),  # no gain
        ([(2, [10, 10]), (4, [9, 9]), (8, [14, 14])], "does not tell"),  # not monotone
        ([(2, [8, 12]), (4, [9, 15]), (8, [18, 18])], "does not tell"),  # a gain of 2 within a spread of 4
        ([(4, [9, 9]), (8, [14, 14])], "the learning curve has 2 points."),
        ([(2, [1]), (4, [9]), (8, [14])], "is that of one seed"),
    ],
)
def test_more_videos_are_promised_something_only_where_the_curve_supports_it(points, told):
    assert told in outlook(curve(*points))
    assert ("expect" in outlook(curve(*points))) == ("expect" in told)


@pytest.mark.parametrize("found", [Findings(12, 20, 4), Findings(0, 6, 2), Findings(6, 6, 2), Findings(447, 694, 100)])
def test_the_interval_is_where_a_true_share_would_still_be_likely(found):
    """Its ends are the shares from which the count is 1.96 standard errors away (Wilson)."""
    shares = [share / 1e4 for share in range(10001)]
    likely = [
        100 * share for share in shares
        if abs(share - found.count / found.queries) <= 1.96 * sqrt(share * (1 - share) / found.queries) + 1e-9
    ]  # fmt: skip
    assert found.interval == pytest.approx((min(likely), max(likely)), abs=0.51)
    assert sentence(found).startswith(f"{found.count} of {found.queries} test queries found (a window with an IoU")


def make_results(working, *, test=("b", "c")):
    """Two strategies and what needs no training, on two test videos with three queries."""
    truth = [
        {"qid": 1, "query": "q", "vid": test[0], "duration": 20, "relevant_windows": [[0, 10]]},
        {"qid": "x", "query": "q", "vid": test[1], "duration": 20, "relevant_windows": [[0, 4], [10, 14]]},
        {"qid": 3, "query": "q", "vid": test[1], "duration": 20, "relevant_windows": [[5, 9]]},
        {"qid": 4, "query": "q", "vid": "a", "duration": 20, "relevant_windows": [[5, 9]]},
    ]
    windows = {1: [[0, 5, 0.9]], "x": [[10, 14.5, 0.8], [0, 1, 0.1]], 3: [[12, 20, 0.9], [5, 9, 0.2]]}  # 1 at IoU .5
    write_jsonl(working / "data/raw/mine/annotations.jsonl", truth)
    card = working / "data/catalog/mine"
    write_jsonl(card / "annotations.jsonl", [row | ({"asked": True} if row["vid"] == "a" else {}) for row in truth])
    (card / "card.yaml").write_text("annotations: annotations.jsonl\n")
    runs = working / "results/runs/mine/grounding"
    scores = {METRIC: 20.0, "MR-full-R1@0.5": 100 / 3}
    write_json(runs / "references.json", {name: {"scores": scores} for name in ("random", "cosine", "oracle")})
    write_json(working / "results/report/takeaways.json", {"grounding": [
        {"title": "Bad", "text": "It is.", "caution": True}, {"title": "Good", "text": "So.", "caution": False},
    ]})  # fmt: skip
    adapters = working / "models/adapters/mine/grounding"
    for name, share, chosen, tested in (("read", 0.1, 60, 30), ("lora", 0.1, 50, 90), ("full", 1.0, 99, 99)):
        write_json(working / f"results/report/metrics/grounding/{name}-k4.json", {METRIC: tested, "other": 1})
        for seed in (1, 0):
            row = {"strategy": name, "shots": 4, "seed": seed, "train_videos": 4, "scores": {METRIC: tested + seed}}
            write_json(runs / name / f"k4-s{seed}/scores.json", row | {"n_samples": 3})
            write_jsonl(
                runs / name / f"k4-s{seed}/predictions.jsonl",
                [{"qid": qid, "pred_relevant_windows": each} for qid, each in windows.items()],
            )
            record = {"shots": 4, "seed": seed, "share": share, "val_score": chosen - seed}
            write_json(adapters / name / f"k4-s{seed}/run.json", record)
    zero = {"strategy": "zero_shot", "shots": 0, "seed": 0, "scores": scores | {METRIC: 25.0}}
    write_json(runs / "zero_shot/k0-s0/scores.json", zero)
    write_json(adapters / "runs.json", [f"{name}/k4-s{seed}" for name in ("full", "lora", "read") for seed in (0, 1)])


def test_the_best_small_strategy_is_chosen_by_validation_and_leads_the_bundle(tmp_path):
    make_results(tmp_path)
    best, runs = ranked(tmp_path, "mine", "grounding")
    assert best == "read"  # lora is better on the test side, full is not small
    assert [(run.label, run.draw) for run in runs] == [("read", "k4-s0"), ("full", "k4-s0"), ("lora", "k4-s0")]


def test_a_verdict_counts_the_queries_whose_first_window_is_right(tmp_path):
    make_results(tmp_path)
    told = tell(tmp_path, "mine", "read")
    assert told["sentence"].startswith("2 of 3 test queries found") and "on 2 videos" in told["sentence"]
    assert " Chance finds 1, the model before training 1. What more " in told["sentence"]
    rows = {row["name"]: (row["value"], row["note"]) for row in told["rows"]}
    assert [*rows] == ["random", "cosine", "zero-shot", "read"] and told["metric"] == METRIC
    assert rows["zero-shot"][0] == 25 and rows["random"][1].endswith("; finds 1 of 3")
    assert rows["read"] == (30.5, "trained on 4 labelled videos, mean over 2 seeds")
    assert told["cautions"][0].startswith("The test side is small: 3 sentences of 2 videos.")
    assert told["cautions"][1:] == ["Bad. It is."] and told["left_test"] == 1
    json.dumps(told)


def test_scores_of_another_test_side_are_not_compared(tmp_path):
    make_results(tmp_path)
    before = tell(tmp_path, "mine", "read")["test"]
    assert CHANGED not in tell(tmp_path, "mine", "read", before)["cautions"]
    make_results(tmp_path, test=("b", "d"))
    assert tell(tmp_path, "mine", "read", before)["cautions"][0] == CHANGED


def test_what_another_dataset_left_is_not_packed(tmp_path):
    make_results(tmp_path)
    (tmp_path / "params.yaml").write_text("dataset: other\n")
    with pytest.raises(InputError, match="is of other by now; train mine again"):
        pack(tmp_path, "mine", tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_predictions_of_other_labels_are_no_result(tmp_path):
    make_results(tmp_path)
    with pytest.raises(InputError, match=r"predictions.jsonl: is not of these labels"):
        found_by(tmp_path / "results/runs/mine/grounding/read/k4-s0", {"1": {}})
    with pytest.raises(InputError, match="holds no trained run"):
        ranked(tmp_path, "other", "grounding")
