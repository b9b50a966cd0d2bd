"""The benchmarks' protocols: levels on the real labels, and what lies between predictions and the judged clips."""

import itertools
import json
import tarfile
from collections import Counter

import numpy as np
import pytest

from read.data.annotations import parse
from read.data.layouts import load_parts
from read.data.layouts.queries import youtube_highlights
from read.errors import InputError
from read.files import read_json
from read.metrics import charades, grounding
from read.metrics.judged import judged_saliency
from read.metrics.protocol import get_protocol
from read.plugins import PROTOCOLS


def side(mirror, layout, file):
    return load_parts([(mirror / file, "val")], layout, 2.0)[0]


def video(vid="v", labels=(0, 1, 0, 0), kind="", **changes):
    """A video of clips of 2 s that are judged as they are."""
    row = {
        "qid": vid,
        "query": "q",
        "vid": vid,
        "duration": 2.0 * len(labels),
        "relevant_windows": [[0, 2]],
        "kind": kind,
    }
    judged = [[2 * n, 2 * n + 2, *np.atleast_1d(label).tolist()] for n, label in enumerate(labels)]
    return parse(row | {"judged": judged} | changes, 2.0)


def ranked(annotation, saliency):
    return {"qid": annotation.qid, "pred_saliency_scores": list(saliency)}


def test_levels_of_tvsum(mirror):
    annotations = side(mirror, "tvsum", "tvsum/tvsum_val_release.jsonl")
    protocol = get_protocol("tvsum")
    assert round(protocol.oracle(annotations, 2.0)["HL-top5-mAP"], 2) == 84.35
    assert protocol.random(annotations, 2.0, 10, 0)["HL-top5-mAP"] == pytest.approx(42.54, abs=0.4)
    truth = [ranked(a, np.mean([clip[2:] for clip in a.judged], axis=1)) for a in annotations]
    assert protocol.scores(truth, annotations, 2.0) == protocol.oracle(annotations, 2.0)


def test_levels_of_youtube_highlights(mirror):
    protocol = get_protocol("youtube_highlights")
    annotations = side(mirror, "youtube_highlights", "youtube_highlights/youtube_highlight_val_release.jsonl")
    assert protocol.oracle(annotations, 2.0) == {"HL-mAP": 100.0}
    assert protocol.random(annotations, 2.0, 5, 0)["HL-mAP"] == pytest.approx(50.47, abs=0.4)


def test_the_level_of_all_videos_that_umt_lists(mirror):
    folder = mirror / "youtube_highlights"
    annotations = []
    with tarfile.open(folder / "original_labels_no_info.tar.gz") as archive:
        for domain, sides in read_json(folder / "umt_splits.json").items():
            for vid in sides["val"]:
                clips, match = json.load(archive.extractfile(f"{domain}/{vid}/match_label.json"))
                row = {"qid": vid, "vid": vid, "query": domain, "domain": domain, "clip": clips, "match": match}
                rate = {"fps": 30.0, "duration": clips[-1][1] / 30}  # not published there, and of no effect here
                annotations.append(parse(youtube_highlights.convert(row | rate, Counter()), 2.0))
    assert len(annotations) == 172
    level = get_protocol("youtube_highlights").random(annotations, 2.0, 10, 0)["HL-mAP"]
    assert level == pytest.approx(49.97, abs=0.3)


def test_charades_is_scored_as_charades(mirror):
    annotations = side(mirror, "charades_sta", "charades/charades_test_release.jsonl")[:300]
    protocol = get_protocol("charades_sta")
    assert set(protocol.oracle(annotations, 2.0).values()) == {100.0}
    generator = np.random.default_rng(0)
    rows = [grounding.random_prediction(annotation, 2.0, generator) for annotation in annotations]
    assert protocol.scores(rows, annotations, 2.0) == charades.evaluate(rows, annotations)
    assert protocol.choice(rows, annotations, 2.0) == charades.evaluate(rows, annotations)["mIoU"]
    assert protocol.random(annotations, 2.0, 1, 0) == charades.evaluate(rows, annotations)


def test_qvhighlights_is_scored_as_published(mirror):
    folder = mirror / "qvh_predictions"
    annotations = side(mirror, "qvhighlights", "qvhighlights/highlight_val_release.jsonl")
    predictions = grounding.load_predictions(folder / "sample_val_preds.jsonl")
    published = read_json(folder / "sample_val_preds_metrics_raw.json")["brief"]
    protocol = get_protocol("qvhighlights")
    scores = protocol.scores(predictions, annotations, 2.0)
    assert {name: float(f"{scores[name]:.2f}") for name in published} == published
    chosen = protocol.choice(predictions, annotations, 2.0)
    assert chosen == (scores["MR-full-mAP"] + scores["HL-clip-AP"]) / 2


@pytest.mark.parametrize("name", PROTOCOLS.names())
def test_chance_is_seeded_and_below_the_truth(name):
    labels = [[1, 5], [3, 1], [2, 2], [5, 5], [1, 1], [4, 2], [1, 2]] if name == "tvsum" else [-1, 1, 0, 1, -1, 0, 0]
    annotations = [video(f"v{n}", labels, kind="ab"[n % 2], relevant_windows=[[2, 8]]) for n in range(4)]
    protocol = get_protocol(name)
    level = protocol.random(annotations, 2.0, 2, 3)
    assert level == protocol.random(annotations, 2.0, 2, 3)
    assert level != protocol.random(annotations, 2.0, 2, 4)
    assert set(level) == set(protocol.oracle(annotations, 2.0))
    assert level[protocol.primary] < protocol.oracle(annotations, 2.0)[protocol.primary]


@pytest.mark.parametrize("name", ["tvsum", "youtube_highlights"])
def test_domains_weigh_the_same(name):
    good, bad = (0, 1, 0, 0), (0, -1, -1, 2)
    wrap = (lambda labels: [[label] for label in labels]) if name == "tvsum" else tuple
    protocol = get_protocol(name)
    annotations = [video("a", wrap((0, 1, 0, 0)), "x"), *(video(vid, wrap((0, 1, 0, 0)), "y") for vid in "bcd")]
    rows = [ranked(annotations[0], good), *(ranked(a, bad) for a in annotations[1:])]
    apart = [protocol.scores(rows[part], annotations[part], 2.0)[protocol.primary] for part in (slice(1), slice(1, 4))]
    assert apart[0] == 100 > apart[1]
    assert protocol.scores(rows, annotations, 2.0) == {protocol.primary: pytest.approx(np.mean(apart))}
    assert protocol.choice(rows, annotations, 2.0) == pytest.approx(np.mean(apart))


def test_saliency_of_spans_by_hand():
    spans = np.array([[0, 2], [1, 3], [1, 5], [3.5, 9], [6, 8]])
    expected = [4, (4 + 2) / 2, (4 + 2 * 2 + 6) / 4, (2 * 0.5 + 6 * 2) / 2.5, 2]
    np.testing.assert_allclose(judged_saliency([4, 2, 6], 2.0, spans), expected)


def test_equal_saliency_stays_equal():
    spans = np.array([[n / 3, n / 3 + 3.1] for n in range(20)])
    assert len(set(judged_saliency([0.1] * 7, 1.7, spans).tolist())) == 1


def test_the_clip_length_of_a_prediction_is_free():
    """Twice as many clips of half the length say the same."""
    protocol, generator = get_protocol("youtube_highlights"), np.random.default_rng(0)
    for _ in range(20):
        annotation = video(labels=(generator.random(9) > 0.5).astype(int) * 2 - 1, relevant_windows=[[0, 2]])
        saliency = generator.random(9)
        coarse = protocol.scores([ranked(annotation, saliency)], [annotation], 2.0)
        assert protocol.scores([ranked(annotation, saliency.repeat(2))], [annotation], 1.0) == coarse


def test_predictions_come_in_any_order():
    protocol = get_protocol("youtube_highlights")
    annotations = [video(vid, labels) for vid, labels in zip("abc", itertools.permutations((0, 1, 1)), strict=False)]
    rows = [ranked(a, [clip[2] for clip in a.judged]) for a in annotations]
    assert protocol.scores(rows[::-1], annotations, 2.0) == {"HL-mAP": 100.0}


def test_what_is_absent_is_named():
    annotation = video()
    with pytest.raises(InputError, match=r"no metric 'tvsumm'; did you mean tvsum"):
        get_protocol("tvsumm")
    protocol = get_protocol("tvsum")
    with pytest.raises(InputError, match="qid v: lacks judged"):
        protocol.scores([ranked(annotation, [1] * 4)], [video(judged=[])], 2.0)
    with pytest.raises(InputError, match="qid v: lacks pred_saliency_scores"):
        protocol.scores([{"qid": "v", "pred_relevant_windows": [[0, 2, 1]]}], [annotation], 2.0)
