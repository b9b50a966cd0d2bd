"""The order of labelling: spread over what there is, doubt first where novelty is equal, the same every time."""

import numpy as np
import pytest

from read.studio.order import PARTS, doubts_of, margin, order


def looks_of(generator, groups=4, each=6, dim=16, spread=0.05):
    """Videos of a few kinds: `a0`, `b0`, `c0`, `d0`, `a1`, ..."""
    kinds = np.linalg.qr(generator.normal(size=(dim, dim)))[0][:groups]
    return {
        f"{'abcdefgh'[kind]}{number}": kinds[kind] + spread * generator.normal(size=(PARTS, dim))
        for number in range(each)
        for kind in range(groups)
    }


@pytest.fixture
def looks():
    return looks_of(np.random.default_rng(0))


def naive(looks, labelled):
    """Farthest first, video by video."""
    rows = {vid: np.float32(looks[vid]) for vid in sorted(looks)}
    mean = np.mean([*rows.values()], axis=(0, 1))
    rows = {vid: (each - mean) / np.linalg.norm(each - mean, axis=1, keepdims=True) for vid, each in rows.items()}
    known, found = [*labelled], []
    while left := [vid for vid in rows if vid not in known]:
        best = max(
            left, key=lambda vid: np.mean([1 - max((rows[o] @ part).max() for o in known) for part in rows[vid]])
        )
        known.append(best)
        found.append(best)
    return found


def test_it_is_farthest_first(looks):
    assert [vid for vid, _ in order([*looks], ["a0"], looks, {}, {})] == naive(looks, ["a0"])


def test_every_kind_comes_before_any_comes_twice(looks):
    told = order([*looks][::-1], [], looks, {}, {})
    assert {vid[0] for vid, _ in told[:4]} == set("abcd") and told == order([*looks], [], looks, {}, {})
    assert told[0][1] == "most like all others" and all(why == "unlike those above" for _, why in told[1:4])
    after = order([*looks], ["a0", "b0"], looks, {}, {})
    assert {vid[0] for vid, _ in after[:2]} == set("cd") and after[0][1] == "unlike the labelled ones"
    assert after[-1][1] == "much like the labelled ones" and not {"a0", "b0"} & {vid for vid, _ in after}


def test_of_equals_the_one_comes_first_that_the_model_is_unsure_of(looks):
    doubts = dict.fromkeys(looks, (0, 5)) | {"d3": (4, 5)}
    assert order([*looks], ["a0"], looks, doubts, {})[0] == (
        "d3", "unlike the labelled ones, and the model is unsure of 4 of 5 sentences",
    )  # fmt: skip


def test_copies_come_last_and_what_nobody_has_looked_at_before_them(looks):
    twins = {"c1": ["a0"], "a0": ["c1"], "d1": ["d2"], "d2": ["d1"]}
    told = order([*looks, "new"], ["a0"], looks, {}, twins)
    places = {vid: place for place, (vid, _) in enumerate(told)}
    assert told[-3][0] == "new" and dict(told)["new"] == "not looked at yet"
    assert dict(told)["c1"] == "a copy of a0, by all looks" and places["c1"] > places["new"]
    first, second = sorted(("d1", "d2"), key=places.get)
    assert places[first] < places["new"] < places[second] and first in dict(told)[second]
    assert sorted(places) == sorted({*looks, "new"} - {"a0"})


def test_nothing_to_order():
    assert order([], [], {}, {}, {}) == order(["a"], ["a"], {"a": np.ones((PARTS, 3))}, {}, {}) == []


def test_a_margin_is_to_the_next_place_and_small_ones_are_doubts():
    assert margin([(0, 4, 0.9), (1, 5, 0.8), (4, 6, 0.7)]) == pytest.approx(0.2)
    assert margin([(0, 4, 0.9), (1, 5, 0.8)]) == 0.9
    told = doubts_of({"a": [0.0, 0.1, 0.8, 0.9], "b": [0.5, 0.6, 0.7, 0.05]})
    assert told == {"a": (1, 4), "b": (1, 4)} and doubts_of({}) == {}
