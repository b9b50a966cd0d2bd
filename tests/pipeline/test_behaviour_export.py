"""From a finished run to a bundle, and to the answers that the evaluate stage wrote."""

import pytest

from read import Predictor
from read.files import read_json, read_jsonl

pytestmark = pytest.mark.slow
RUNS = "models/adapters/montage/{}/read/k2-s0"


@pytest.fixture(scope="module")
def predictor(_finished, tmp_path_factory):
    """Of a bundle that the command line made of a run of each task."""
    folder = tmp_path_factory.mktemp("export") / "bundle"
    runs = [RUNS.format(task) for task in ("grounding", "summarization")]
    said = _finished.run("read-adapters", "export", *runs, str(folder))
    assert "grounding: read" in said and "summarization: read" in said
    return Predictor.from_bundle(folder, device="cpu")


def rows_of(project, task: str) -> dict[str, list[dict]]:
    """Predictions by video."""
    found: dict[str, list[dict]] = {}
    for row in read_jsonl(project.folder / "results/runs/montage" / task / "read/k2-s0/predictions.jsonl"):
        found.setdefault(row["vid"], []).append(row)
    return found


def test_a_bundle_answers_what_the_evaluate_stage_wrote(_finished, predictor):
    raw = _finished.folder / "data/raw/montage"
    said = {row["vid"]: row["transcript"] for row in read_jsonl(raw / "summaries.jsonl")}
    files = read_json(raw / "manifest.json")["videos"]
    moments, summaries = rows_of(_finished, "grounding"), rows_of(_finished, "summarization")
    for vid, rows in moments.items():
        video = predictor.encode(raw / "videos" / files[vid]["file"])
        for answer, row in zip(video.answer([row["query"] for row in rows]), rows, strict=True):
            assert [list(moment) for moment in answer.moments] == row["pred_relevant_windows"]
            assert answer.saliency == pytest.approx(row["pred_saliency_scores"], abs=2e-4)  # rounded to 4 digits
        assert video.summary(said[vid]) == summaries[vid][0]["summary"]


def test_the_rule_packs_a_strategy(project):
    project.snakemake("results/bundles/adapter")
    assert "adapter" in project.run("read-adapters", "info", "results/bundles/adapter")
    project.assert_settled()  # it is no artifact of the comparison


def test_the_card_says_which_words_are_known_what_never_got_better_and_what_needs_no_training(_finished, predictor):
    card = predictor.info["tasks"]["grounding"]["adapters"]["read"]
    assert card["untrained"] == (read_json(_finished.folder / RUNS.format("grounding") / "run.json")["best_step"] == 0)
    assert (card["confidence"]["found"] < 9) == (card["threshold"] is None)
    assert card["references"] == {
        "cosine": read_json(_finished.folder / "results/runs/montage/grounding/references.json")["cosine"]["scores"],
        "map": read_json(_finished.folder / "results/runs/montage/grounding/map/k2-s0/scores.json")["scores"],
    }
    shown = {path.stem for path in (_finished.folder / "results/report/metrics/grounding").iterdir()}
    assert {"cosine", "map-k2", "zero_shot", "read-k2"} <= shown
    assert {"cat", "coffee", "zooms"} <= predictor.words  # of the source's sentences
    assert predictor.unknown_words("the bicycle follows the cat")[0] == "bicycle"
