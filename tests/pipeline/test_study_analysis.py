"""A study on made-up scores: what is paired with what, and what becomes of a claim."""

from itertools import product
from statistics import fmean
from zlib import crc32

import numpy as np
import pytest

from pipeline import paths
from pipeline.reporting.stats import summarise
from pipeline.study import analysis
from pipeline.study.analysis import corrected, load_outcome, matrix
from pipeline.study.verdicts import first_sentence, verdicts
from pipeline.study.view import flags
from read.errors import InputError
from read.files import read_json, write_json
from tests.pipeline.study_workspace import METRIC, make_scores, study_of

LIFT = {"lora": 1.0, "adapter": 0.0, "read": 3.0, "read_rnn": 2.0}
ABOUT = {"at_edge": False, "still_rising": False}


@pytest.fixture(autouse=True)
def _in_the_checkout(monkeypatch):
    from benchmarks.tiny import ROOT

    monkeypatch.chdir(ROOT)


def level(name, shots, backbone, seed, lifts=LIFT, spread=0.2):
    """Backbones and seeds differ by much, alike for all strategies; a strategy by `spread` beside its lift."""
    own = np.random.default_rng([crc32(name.encode()), shots, backbone, seed]).normal(0, spread)
    return 30 + 4 * backbone + 2 * seed + shots / 4 + lifts[name] + own


def outcome_of(tmp_path, level=level, study=None, **about):
    study = study or study_of()
    return load_outcome(study, "montage", make_scores(study, tmp_path, level, **(ABOUT | about)))


def claim(**changes):
    return {"claim": "a is better", "better": "read", "than": "adapter", "margin": 0.5} | changes


def test_a_lead_is_paired_by_backbone_and_seed(tmp_path):
    outcome = outcome_of(tmp_path)
    found = outcome.lead("read", "adapter", [4, 8], METRIC)
    by_backbone = [
        fmean(level("read", k, b, s) - level("adapter", k, b, s) for k in (4, 8) for s in (0, 1, 2)) for b in range(4)
    ]
    assert found.values == pytest.approx(by_backbone)
    assert found.test_error == pytest.approx(0, abs=1e-9)  # the videos of two runs differ alike
    assert outcome.level("read", [4, 8], METRIC).test_error > 0.5


def test_a_variant_is_paired_with_the_comparison(tmp_path):
    outcome = outcome_of(tmp_path)
    found = outcome.lead("read_rnn", "read", [8], METRIC)
    assert found.n == 4
    expected = fmean(level("read_rnn", 8, b, s) - level("read", 8, b, s) for b, s in product(range(4), range(3)))
    assert found.mean == pytest.approx(expected)


def test_with_one_backbone_its_seeds_are_the_level(tmp_path):
    study = study_of(backbone_seeds=[5])
    assert outcome_of(tmp_path, study=study).lead("read", "lora", [8], METRIC).n == 3


def test_the_matrix_holds_all_pairs_and_is_corrected_for_all(tmp_path):
    outcome = outcome_of(tmp_path)
    found = matrix(outcome)
    assert len(found) == 3 * 2
    alone = outcome.lead("lora", "read", [4], METRIC)
    among = found["lora", "read", 4]
    assert among.mean == pytest.approx(alone.mean)
    assert among.low < alone.interval[0] and among.high > alone.interval[1]


@pytest.mark.parametrize("seed", range(5))
def test_an_interval_excludes_what_it_is_tested_against_just_where_that_is_decided(seed):
    dice = np.random.default_rng(seed)
    family = [summarise(dice.normal(shift, 1, 5)) for shift in (0, 0.5, 1, 2, 4, 8)]
    nulls = [0.0, 0.5, 0, 1, 0, 0.5]
    found = corrected(family, nulls)
    assert [each.decided for each in found] == [
        not each.low <= null <= each.high for each, null in zip(found, nulls, strict=True)
    ]
    assert {each.decided for each in found} == {True, False}


def test_what_is_absent_counts_in_the_correction():
    one = summarise([1.0, 1.1, 1.2])
    alone, among = corrected([one], [0.0])[0], corrected([one, None, None], [0.0] * 3)[0]
    assert among.p == pytest.approx(3 * alone.p)


@pytest.mark.parametrize(
    ("lift", "spread", "margin", "verdict"),
    [
        (3.0, 0.2, 0.5, "supported"),
        (-3.0, 0.2, 0.5, "refuted"),
        (0.0, 0.1, 1.0, "refuted"),  # no difference worth its name
        (0.0, 0.2, 0.0, "not decided"),
        (1.0, 6.0, 0.5, "not decided"),
    ],
)
def test_a_verdict(tmp_path, lift, spread, margin, verdict):
    study = study_of(claims=[claim(margin=margin)])
    lifts = LIFT | {"read": lift}
    row = verdicts(outcome_of(tmp_path, lambda *key: level(*key, lifts, spread), study))[0]
    assert row["verdict"] == verdict
    inside = row["low"] <= margin <= row["high"]
    assert inside == (verdict == "not decided")


def test_no_verdict_before_all_runs_are_in(tmp_path):
    def but_one(*key):
        return None if key == ("adapter", 4, 2, 1) else level(*key)

    row = verdicts(outcome_of(tmp_path, but_one))[0]
    assert row["verdict"] == "not decided" and "not all" in row["why"]
    assert row["mean"] == pytest.approx(3, abs=0.5)


def test_one_run_decides_nothing(tmp_path):
    study = study_of(backbone_seeds=[0], seeds=[1], ablation_seeds=[1])
    row = verdicts(outcome_of(tmp_path, study=study))[0]
    assert (row["verdict"], row["p"]) == ("not decided", None)


def test_a_claim_about_other_settings_has_no_verdict_here(tmp_path):
    study = study_of(
        settings={"montage": {}, "other": {}},
        claims=[claim(settings=["other"]), claim(than="read_rnn"), claim(shots=[4])],
    )
    rows = verdicts(outcome_of(tmp_path, study=study))
    assert rows[0] is None
    assert [row["shots"] for row in rows[1:]] == [[8], [4]]


def test_claims_are_corrected_for_one_another(tmp_path):
    one, two = study_of(), study_of(claims=[claim(), claim(than="lora")])
    outcome = outcome_of(tmp_path, study=one)
    alone = verdicts(outcome)[0]
    among = verdicts(analysis.Outcome("montage", two, outcome.cells, outcome.results))[0]
    assert alone["p"] <= among["p"] <= 2 * alone["p"] + 1e-12


@pytest.mark.parametrize(
    ("lifts", "begins", "holds"),
    [
        ({}, "READ comes out first everywhere", "read is first, at"),
        ({"read": -3.0}, "READ comes out first nowhere", "lora is first"),
        ({"lora": 3.0 - 1e-3}, "READ comes out first everywhere", "which does not tell them apart"),
    ],
)
def test_the_first_sentence_says_where_read_stands(tmp_path, lifts, begins, holds):
    outcome = outcome_of(tmp_path, lambda *key: level(*key, LIFT | lifts))
    told = first_sentence([outcome], str)
    assert told.startswith(begins)
    assert holds in told
    assert first_sentence([], str) == "No run has been scored yet, so nothing can be said of READ."


def test_runs_in_doubt_are_counted_once(tmp_path):
    outcome = outcome_of(tmp_path, at_edge=True, still_rising=True)
    assert flags(outcome) == {"runs": 84, "edge": 84, "last": 0, "rising": 84, "any": 84}
    assert flags(outcome_of(tmp_path / "other"))["any"] == 0


def test_runs_of_another_cell_are_refused(tmp_path):
    study = study_of()
    cells = make_scores(study, tmp_path, level, **ABOUT)
    file = cells[0].results / "read/k8-s0/scores.json"
    file.write_text((cells[1].results / "read/k8-s0/scores.json").read_text())
    with pytest.raises(InputError, match=r"k8-s0: read was trained on features of another cell"):
        load_outcome(study, "montage", cells)


def test_variants_on_other_labelled_videos_are_refused(tmp_path):
    study = study_of()
    cells = make_scores(study, tmp_path, level, **ABOUT)
    split = cells[-1].folder / paths.split_file("montage", "grounding", 8, 2)
    write_json(split, read_json(split) | {"train": ["another"]})
    with pytest.raises(InputError, match="differ, so that their runs cannot be compared"):
        load_outcome(study, "montage", cells)
