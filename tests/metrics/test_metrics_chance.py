"""The level of chance is what `evaluate` says of random rows, one query after the other."""

import numpy as np
import pytest

from read.metrics import charades, grounding
from read.metrics.protocol import get_protocol


def annotations(count: int) -> list[dict]:
    """Videos of different lengths, some with a last clip that is not whole."""
    generator, rows = np.random.default_rng(1), []
    for qid in range(count):
        clips = int(generator.integers(3, 40))
        first, last = np.sort(generator.choice(clips + 1, 2, replace=False)).tolist()
        rows.append(
            {"qid": qid, "duration": 2.0 * clips + 0.5 * (qid % 3), "relevant_windows": [[2 * first, 2 * last]],
             "relevant_clip_ids": [*range(first, last)],
             "saliency_scores": generator.integers(5, size=(last - first, 3)).tolist()}
        )  # fmt: skip
    return rows


@pytest.mark.parametrize("without", [None, "saliency_scores", "relevant_clip_ids", "relevant_windows"])
def test_all_draws_together_are_as_row_by_row(without):
    labels = annotations(23)
    if without is not None:
        labels = [{key: value for key, value in row.items() if key != without} for row in labels]
    if without == "relevant_clip_ids":
        labels = [{key: value for key, value in row.items() if key != "saliency_scores"} for row in labels]
    generator = np.random.default_rng(5)
    draws = [[grounding.random_prediction(label, 2.0, generator) for label in labels] for _ in range(3)]
    one_by_one = [grounding.evaluate(rows, labels)["exact"] for rows in draws]
    level = grounding.random_level(labels, draws=3, seed=5)["exact"]
    for part in ("brief", "extra"):
        assert level[part] == {name: np.mean([of[part][name] for of in one_by_one]) for name in one_by_one[0][part]}
    if without != "relevant_windows":
        by_recall = [charades.evaluate(rows, labels) for rows in draws]
        found = get_protocol("charades_sta").random(labels, 2.0, 3, 5)
        assert found == {name: np.mean([of[name] for of in by_recall]) for name in by_recall[0]}
