"""The page and tables of both tasks, made from a results folder of seeded random numbers."""

import base64
import csv
import json
from dataclasses import replace
from html.parser import HTMLParser
from statistics import fmean, mean, stdev

import numpy as np
import pytest

from pipeline.reporting.inputs import Inputs
from pipeline.reporting.page import TEMPLATES
from pipeline.stages.report import build_report, main
from pipeline.terminal import results_text
from read.errors import InputError
from read.files import read_json, read_jsonl, write_json, write_jsonl
from read.metrics.summarization import rouge
from tests.pipeline.report_workspace import CLIPS, KINDS, METRICS, QUERIES, TRAINABLE, make_results

DOMAINS = ("BK", "BT", "DS", "FM", "GA")
SMALL = {"strategies": ("read", "adapter"), "shots": (8,), "seeds": (0,), "videos": 1}


class Page(HTMLParser):
    """Addresses, ids, table cells by row, terms of lists, text outside of scripts, and the scripts."""

    def __init__(self, html):
        super().__init__()
        self.addresses, self.ids, self.rows, self.scripts, self.terms, self.term = [], [], {}, {}, {}, ""
        self.text, self.stack, self.row = "", [], None
        self.asides, self.aside = {}, False  # row -> what stands small beside its name and its shares
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.addresses += [(tag, attrs[name]) for name in ("src", "href", "action", "poster") if name in attrs]
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.stack = [tag, attrs.get("id", "")]
        if tag == "table":
            self.table = attrs.get("id")
        if tag == "tr":
            self.row = (self.table, attrs.get("data-row"), attrs.get("data-shots"))
        self.aside = attrs.get("class") in ("flag", "doubt", "count")
        if tag in ("td", "th") and self.row:
            self.rows.setdefault(self.row, []).append("")

    def handle_endtag(self, tag):
        self.stack, self.aside = [], False
        if tag == "tr":
            self.row = None

    def handle_data(self, text):
        if self.stack and self.stack[0] in ("script", "style"):
            self.scripts[self.stack[1]] = self.scripts.get(self.stack[1], "") + text
            return
        self.text += text
        if self.stack[:1] == ["dt"]:
            self.term = text
        if self.stack[:1] == ["dd"]:
            self.terms[self.term] = text
        if self.row and self.aside:
            self.asides.setdefault(self.row, []).append(text.strip())
        elif self.row and self.rows.get(self.row):
            self.rows[self.row][-1] = " ".join((self.rows[self.row][-1] + text).split())


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return make_results(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def out(inputs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    build_report(inputs, folder)
    return folder


@pytest.fixture(scope="module")
def page(out):
    return read_page(out)


def read_page(out) -> Page:
    return Page((out / "index.html").read_text(encoding="utf-8"))


def built(inputs, out) -> Page:
    build_report(inputs, out)
    return read_page(out)


def words_of(page) -> str:
    return " ".join(page.text.split())


def data_of(page, name):
    return json.loads(page.scripts[f"{name}-data"])


def values_of(
    inputs: Inputs, task: str, strategy: str, shots: int, metric: str, kind: str | None = None
) -> list[float]:
    rows = [read_json(path) for path in sorted(inputs.runs.glob(f"{task}/{strategy}/k{shots}-s*/scores.json"))]
    return [(row["by_kind"][kind] if kind else row["scores"])[metric] for row in rows]


def shown_as(values, digits=1) -> str:
    return f"{mean(values):.{digits}f} ± {stdev(values):.{digits}f}"


def test_equal_inputs_give_equal_bytes(inputs, out, tmp_path):
    build_report(inputs, tmp_path)
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        assert (tmp_path / path.relative_to(out)).read_bytes() == path.read_bytes(), path


def test_page_fetches_nothing(page, out):
    assert page.addresses and all(address.startswith(("#", "data:")) for _, address in page.addresses)
    html = (out / "index.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in html
    for sheet in TEMPLATES.glob("*.css"):
        assert "url(" not in sheet.read_text() and "@import" not in sheet.read_text()
    assert html.count("plotly.js v") == 1


def test_no_id_stands_twice_and_every_link_leads_somewhere(page):
    assert len(page.ids) == len(set(page.ids))
    links = {address[1:] for tag, address in page.addresses if tag == "a"}
    assert links <= set(page.ids)
    assert {"grounding", "summarization", "summarization-examples", "grounding-kinds"} <= links


@pytest.mark.parametrize("task", METRICS)
def test_every_row_stands_in_the_score_table_in_its_place(page, task):
    rows = [(name, shots) for table, name, shots in page.rows if table == f"{task}-score-table" and name]
    ceilings = ["subject_only", "perfect_clips", "oracle"]
    below, above = {"grounding": (["random"], ceilings), "summarization": (["shuffled", "lead"], [])}[task]
    trained = sorted(set(TRAINABLE) - {"zero_shot"}, key=lambda name: (TRAINABLE[name], name))
    expected = [*((name, None) for name in below), ("zero_shot", "0")]
    expected += [(name, shots) for shots in ("8", "32") for name in trained]
    assert rows == [*expected, *((name, None) for name in above)]
    for name, trainable in TRAINABLE.items():
        for shots in ("8", "32") if trainable else ("0",):
            cells = page.rows[f"{task}-score-table", name, shots]
            assert cells[0] == name.replace("_", "-")
            assert cells[len(METRICS[task]) + 2] == f"{trainable:,}"


@pytest.mark.parametrize("shots", [8, 32])
@pytest.mark.parametrize("task", METRICS)
def test_table_holds_mean_and_spread_over_seeds(page, inputs, task, shots):
    header = page.rows[f"{task}-score-table", None, None]
    assert header[1] == METRICS[task][0]
    for name in set(TRAINABLE) - {"zero_shot"}:
        for metric in METRICS[task]:
            values = values_of(inputs, task, name, shots, metric)
            shown = page.rows[f"{task}-score-table", name, str(shots)][header.index(metric)]
            assert shown == shown_as(values, 2 if metric == "CIDEr-D" else 1)


@pytest.mark.parametrize("task", METRICS)
def test_every_variant_of_a_metric_is_explained(page, task):
    for metric in METRICS[task]:
        assert page.terms[metric]


def test_two_kinds_stand_apart_with_their_mean(page, inputs):
    for k in (8, 32):
        expected = []
        for kind in (*KINDS, None):
            for metric in METRICS["grounding"][:3]:
                apart = [values_of(inputs, "grounding", "read", k, metric, name) for name in KINDS]
                expected.append(
                    apart[KINDS.index(kind)] if kind else [fmean(pair) for pair in zip(*apart, strict=True)]
                )
        assert page.rows["grounding-kind-table", "read", str(k)][1:] == [shown_as(values) for values in expected]
    assert not any(table == "summarization-kind-table" for table, *_ in page.rows)


def test_many_kinds_make_a_table_of_strategies_by_kinds(tmp_path):
    inputs = make_results(tmp_path, ("grounding",), ("read", "lora"), shots=(8,), videos=1, kinds=DOMAINS)
    page = built(inputs, tmp_path / "out")
    assert page.rows["grounding-kind-table", None, None] == ["strategy", *DOMAINS, "mean of kinds", "8 labelled videos"]
    for name in ("read", "lora"):
        apart = [values_of(inputs, "grounding", name, 8, "MR-full-mAP", domain) for domain in DOMAINS]
        overall = [fmean(values) for values in zip(*apart, strict=True)]
        shown = page.rows["grounding-kind-table", name, "8"][1:]
        assert shown == [shown_as(values) for values in (*apart, overall)]
    with (tmp_path / "out" / "scores.csv").open(newline="") as file:
        rows = {(r["strategy"], r["kind"], r["metric"]): float(r["mean"]) for r in csv.DictReader(file)}
    assert rows["lora", "mean of kinds", "MR-full-mAP"] == pytest.approx(mean(overall))


def test_flat_scores_and_csv_agree_with_the_runs(out, inputs):
    flat = read_json(out / "scores.json")
    for task, metric in (("grounding", "HL-clip-AP"), ("summarization", "CIDEr-D")):
        values = values_of(inputs, task, "lora", 32, metric)
        assert flat[f"{task}/lora/k32/{metric}"] == pytest.approx(mean(values), abs=1e-4)
        assert flat[f"{task}/lora/k32/{metric}/std"] == pytest.approx(stdev(values), abs=1e-4)
    assert {"grounding/oracle/MR-full-mAP", "summarization/lead/BLEU-4"} <= flat.keys()
    assert all(isinstance(value, float) for value in flat.values())
    with (out / "scores.csv").open(newline="") as file:
        rows = {tuple(r[c] for c in ("task", "strategy", "shots", "kind", "metric")): r for r in csv.DictReader(file)}
    order = values_of(inputs, "grounding", "full", 8, "MR-full-mAP", "order")
    assert float(rows["grounding", "full", "8", "order", "MR-full-mAP"]["mean"]) == pytest.approx(mean(order))
    assert ("grounding", "oracle", "", "all", "HL-clip-AP") in rows
    assert ("summarization", "shuffled", "", "all", "ROUGE-L-whitespace") in rows


def test_what_the_page_states_first_is_there_for_other_programs(page, out):
    told = read_json(out / "takeaways.json")
    assert told.keys() == METRICS.keys()
    sentences = [each for own in told.values() for each in own]
    assert sentences and all(each["title"] in page.text and each["text"] in page.text for each in sentences)


def test_every_row_of_the_metrics_has_the_primary_one_first(out):
    files = list((out / "metrics").glob("*/*.json"))
    assert files and all(next(iter(read_json(file))) == METRICS[file.parent.name][0] for file in files)
    assert "MR-full-mAP" in results_text(out)


def test_no_number_is_missing_in_silence(page, out):
    def refuse(constant):
        raise AssertionError(constant)

    assert not {"nan", "none", "inf", "undefined"} & set(page.text.lower().split())
    assert "nan" not in (out / "scores.csv").read_text()
    for name in ("charts", "examples", "videos", "styles"):
        json.loads(page.scripts[f"{name}-data"], parse_constant=refuse)


def test_text_of_others_is_escaped(page, out):
    html = (out / "index.html").read_text(encoding="utf-8")
    assert "<script>alert" not in html and "<gone>" not in html and "<b>" not in html
    examples = data_of(page, "examples")
    assert {example["title"] for example in examples["grounding"]["examples"]} <= set(QUERIES)
    told = [run["summary"] for example in examples["summarization"]["examples"] for run in example["runs"].values()]
    assert any("</script><b>&" in words for words in told)


def test_missing_videos_are_listed(page):
    assert "6 of 7 test videos" in words_of(page)
    cells = next(cells for (table, *_), cells in page.rows.items() if table == "missing-table")
    assert cells[-5:] == ["toy6", "2", "1", "test", "HTTP 404 <gone>"]


def test_of_a_package_missing_are_what_it_lacks_and_what_is_damaged(tmp_path):
    inputs = make_results(tmp_path, ("grounding",), **SMALL | {"videos": 3})
    manifest = read_json(inputs.raw / "manifest.json")
    listed = {"videos": {}, "missing": manifest["missing"], "features": ["toy0", "toy1", "toy2"]}
    write_json(inputs.raw / "manifest.json", listed)
    write_json(tmp_path / "features.json", {"failed": {"toy2": "3 rows are NaN"}})
    for row in (run := inputs.runs / "grounding").glob("*/*/scores.json"):
        write_json(row, read_json(row) | {"n_videos": 2})
    page = built(replace(inputs, features=tmp_path / "features.json"), run.parent)
    assert "rest on 2 of 4 test videos" in words_of(page)
    assert "Of the dataset’s 4 videos, 2 could not be had or read" in words_of(page)
    cells = next(cells for (table, *_), cells in page.rows.items() if table == "missing-table")
    assert cells[-8:] == ["toy2", "2", "test", "3 rows are NaN", "toy3", "2", "test", "HTTP 404 <gone>"]
    assert not data_of(page, "examples")["grounding"]["examples"]  # there is no video to show


def test_the_reported_side_may_be_called_val_and_be_of_one_domain(tmp_path):
    inputs = make_results(tmp_path, ("grounding",), **SMALL | {"videos": 3})
    rows = [row | {"split": "val"} for row in read_jsonl(inputs.raw / "annotations.jsonl")]
    write_jsonl(inputs.raw / "annotations.jsonl", rows)
    assert "rest on 3 of 4 test videos" in words_of(built(inputs, tmp_path))
    rows[-2:] = [row | {"kind": "other"} for row in rows[-2:]]
    write_jsonl(inputs.raw / "annotations.jsonl", rows)
    assert "rest on 3 of 3 test videos" in words_of(built(replace(inputs, domain=KINDS[0]), tmp_path))


def test_queries_are_shown_with_each_kind_and_the_plan(page):
    shown = data_of(page, "examples")["grounding"]["examples"]
    assert len(shown) == 4
    assert {example["kind"] for example in shown} == set(KINDS)
    assert len({example["vid"] for example in shown}) == 4
    for example in shown:
        assert set(example["runs"]) == set(TRAINABLE)
        plan = example["runs"]["read_pvla"]["plan"]
        assert plan["mass"] == pytest.approx(0.5, abs=1e-3) and plan["words"][0] == "<start>"
        assert example["runs"]["adapter"]["plan"] is None


def test_summaries_are_shown_with_score_and_differing_words(page, inputs):
    shown = data_of(page, "examples")["summarization"]["examples"]
    assert len(shown) == 4
    labels = {row["vid"]: row for row in read_jsonl(inputs.raw / "summaries.jsonl")}
    for example in shown:
        reference, said = (labels[example["vid"]][key].split() for key in ("summary", "transcript"))
        assert example["reference"] == reference
        assert example["words"] + example["unread"] == said
        for name, run in example["runs"].items():
            k = 32 if TRAINABLE[name] else 0
            rows = read_jsonl(inputs.runs / "summarization" / name / f"k{k}-s0" / "predictions.jsonl")
            summary = next(row["summary"] for row in rows if row["vid"] == example["vid"])
            assert run["summary"] == summary.split()
            expected = rouge([summary], [" ".join(reference)])["ROUGE-L-whitespace"]
            assert run["rouge"] == pytest.approx(expected, abs=0.051)
            kept = [word for i, word in enumerate(run["summary"]) if i not in run["other"]]
            assert kept == [word for i, word in enumerate(reference) if i not in run["lacks"]]


def test_attention_of_every_word_can_be_unpacked(page, inputs):
    from safetensors.numpy import load_file

    shown = [example for example in data_of(page, "examples")["summarization"]["examples"] if example["words"]]
    assert shown
    for example in shown:
        assert example["duration"] == CLIPS * example["clip_len"]
        for name, run in example["runs"].items():
            file = (
                inputs.runs / "summarization" / name / f"k{32 if TRAINABLE[name] else 0}-s0" / "attention.safetensors"
            )
            expected = load_file(file)[example["vid"]]
            levels = np.frombuffer(base64.b64decode(run["attention"]["bytes"]), np.uint8).reshape(expected.shape)
            np.testing.assert_allclose(levels / 255 * run["attention"]["peak"], expected, atol=0.5 / 255 + 1e-6)


def test_a_silent_video_has_no_words_to_attend(page):
    shown = data_of(page, "examples")["summarization"]["examples"]
    silent = [example for example in shown if example["vid"] == "toy5"]
    assert silent and silent[0]["words"] == [] and silent[0]["duration"] == 20.0
    assert all(run["attention"] is None for run in silent[0]["runs"].values())


def test_a_video_of_both_tasks_is_embedded_once(page, out):
    examples, videos = data_of(page, "examples"), data_of(page, "videos")
    shown = [{example["vid"] for example in examples[task]["examples"]} for task in METRICS]
    assert shown[0] & shown[1] and videos.keys() == shown[0] | shown[1]
    html = (out / "index.html").read_text(encoding="utf-8")
    for content in videos.values():
        assert base64.b64decode(content)[4:8] == b"ftyp"
        assert html.count(content) == 1


def test_a_video_that_was_not_kept_leaves_its_example_and_the_time_line(tmp_path):
    inputs = make_results(tmp_path, ("grounding",), **SMALL)
    for video in (inputs.raw / "videos").iterdir():
        video.unlink()
    page = built(inputs, tmp_path / "out")
    shown = data_of(page, "examples")["grounding"]["examples"]
    assert shown and data_of(page, "videos") == dict.fromkeys(example["vid"] for example in shown)
    assert "was not kept with the results. The time line still works" in words_of(page)


def test_same_inputs_give_the_same_page(inputs, out, tmp_path):
    build_report(inputs, tmp_path)
    assert (tmp_path / "index.html").read_bytes() == (out / "index.html").read_bytes()


def test_provenance_is_shown(page):
    assert "abababababab" in page.text and "with uncommitted changes" in page.text
    assert "steps: 200" in page.text


@pytest.mark.parametrize("task", METRICS)
def test_one_task_one_seed_and_one_strategy_without_looks(tmp_path, task):
    inputs = make_results(tmp_path, (task,), ("read",), shots=(8,), seeds=(4,), videos=2, attention=False)
    page = built(inputs, tmp_path / "out")
    assert page.rows[f"{task}-score-table", "read", "8"][1].endswith("± n/a")
    assert "spread unknown" in page.text
    assert data_of(page, "examples").keys() == {task}
    assert not {"grounding", "summarization"} - {task} & set(page.ids)
    flat = read_json(tmp_path / "out" / "scores.json")
    assert all(name.startswith(f"{task}/") and not name.endswith("/std") for name in flat)


def test_what_needs_no_training_and_is_not_surpassed_is_said(tmp_path):
    inputs = make_results(tmp_path, ("summarization",), **SMALL)
    assert "No gain over" not in built(inputs, tmp_path / "out").text
    references = read_json(inputs.runs / "summarization" / "references.json")
    references["lead"]["scores"]["ROUGE-L-whitespace"] = 97.0
    write_json(inputs.runs / "summarization" / "references.json", references)
    page = built(inputs, tmp_path / "out")
    assert "No gain over lead" in page.text
    assert "exceeds that of lead (97.0)" in words_of(page)


def test_a_banner_says_what_numbers_are_not(page, tmp_path):
    assert "synthetic" not in page.text and "Optimistic" not in page.text
    inputs = make_results(tmp_path, **SMALL)
    write_json(inputs.raw / "dataset.json", {"name": "TVSum", "metric": "any", "synthetic": True})
    for file in inputs.runs.glob("grounding/*/*/scores.json"):
        write_json(file, read_json(file) | {"protocol": "paper", "optimistic": True})
    page = built(inputs, tmp_path / "out")
    assert "Features are synthetic" in page.text and "compared on TVSum" in words_of(page)
    assert words_of(page).count("selection looked at the test side (protocol: paper)") == 1


def test_command_line(tmp_path, monkeypatch):
    inputs = make_results(tmp_path, **SMALL)
    for source, place in ((inputs.runs, "results/runs/toy"), (inputs.raw, "data/raw/toy")):
        (tmp_path / place).parent.mkdir(parents=True)
        source.rename(tmp_path / place)
    metrics = {"grounding": "HL-clip-AP", "summarization": "CIDEr-D"}
    write_json(tmp_path / "data/features/toy/features.json", {"failed": {"toy0": "3 rows are NaN"}})
    summaries = tmp_path / "data/raw/toy/summaries.jsonl"
    (labelled, *others) = read_jsonl(summaries)
    write_jsonl(summaries, [labelled | {"transcript": ""}, *others])
    heard = {"vid": "toy0", "transcript": "hello, by ear", "model": "small", "language": "en"}
    write_jsonl(tmp_path / "data/transcripts/toy/transcripts.jsonl", [heard])
    settings = {"task": ["summarization"], "dataset": "toy", "clip_len": 2.0, "domain": None}
    settings["report"] = {"metrics": metrics, "panels": ["kinds"], "examples": 1}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["report", "--settings", json.dumps(settings)])
    main()
    page = read_page(tmp_path / "results/report")
    assert "examples: 1" in page.text and "3 rows are NaN" in page.text
    assert page.rows["summarization-score-table", None, None][1] == "CIDEr-D"
    assert "grounding" not in page.ids
    assert "1 came without a transcript and were listened to (small, en)." in words_of(page)
    (example,) = data_of(page, "examples")["summarization"]["examples"]
    assert example["heard"] == "small, en"


def refused(inputs, tmp_path, match):
    with pytest.raises(InputError, match=match):
        build_report(inputs, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_does_not_fit_is_refused(tmp_path):
    inputs = make_results(tmp_path, **SMALL)
    run = inputs.runs / "summarization" / "read" / "k8-s0"
    good = read_json(run / "scores.json")
    write_json(run / "scores.json", good | {"n_samples": 9})
    refused(
        inputs, tmp_path, "summarization: read and adapter of seed 0 rest on different test sides: 9 and 1 summaries"
    )
    write_json(run / "scores.json", good | {"trainable": "many"})
    refused(inputs, tmp_path, r"summarization/read/k8-s0/scores\.json: trainable")
    write_json(run / "scores.json", good | {"scores": {"BLEU-4": 1.0}})
    refused(inputs, tmp_path, "report.metrics.summarization: no ROUGE-L-whitespace among the scores; there are BLEU-4")
    write_json(run / "scores.json", good)
    (inputs.raw / "dataset.json").write_text('{"synthetic": "perhaps"}')
    refused(inputs, tmp_path, r"dataset\.json: synthetic")
    (inputs.raw / "dataset.json").unlink()
    (run / "curve.csv").rename(tmp_path / "curve.csv")
    refused(inputs, tmp_path, r"curve\.csv: no such learning curve")


def test_looks_that_do_not_fit_are_refused(tmp_path):
    inputs = make_results(tmp_path, ("summarization",), **SMALL)
    run = inputs.runs / "summarization" / "read" / "k8-s0"
    notes = read_json(run / "attention.json")
    write_json(run / "attention.json", {"toy0": {"words": [*notes["toy0"]["words"], "more"]}})
    refused(inputs, tmp_path, r"attention\.safetensors: toy0 is \(14, 10\), but has 15 words")
    write_json(run / "attention.json", {"toy0": {"words": ["other", *notes["toy0"]["words"][1:]]}})
    refused(inputs, tmp_path, "attention of toy0: strategies differ in words or clips")
    write_json(run / "attention.json", notes)
    write_jsonl(run / "predictions.jsonl", [])
    refused(inputs, tmp_path, r"predictions\.jsonl: holds no prediction")


def change_runs(inputs, task, **values) -> None:
    """Set values in the scores.json of all trained runs of a task."""
    for path in inputs.runs.glob(f"{task}/*/k*-s*/scores.json"):
        if (run := read_json(path))["trainable"]:
            write_json(path, run | values)


def small_report(tmp_path, **values):
    inputs = make_results(tmp_path, ("grounding",), ("read", "adapter", "zero_shot"), shots=(3,), videos=2)
    change_runs(inputs, "grounding", **values)
    return built(inputs, tmp_path / "out")


def test_what_is_counted_are_videos_that_trained(tmp_path):
    page = small_report(tmp_path, train_videos=30)
    assert page.rows["grounding-score-table", None, None]
    assert "30 labelled videos (shots: 3)" in words_of(page)
    assert "with 3 labelled videos" not in words_of(page)
    assert page.terms["labelled videos"] == "30"


def test_a_diverged_rate_is_named_so(tmp_path):
    grid = [{"learning_rate": 0.001, "score": 40.0}, {"learning_rate": 1.0, "score": None}]
    assert "1e0: diverged" in words_of(small_report(tmp_path, grid=grid, learning_rate=0.001))


@pytest.mark.parametrize(
    ("best", "flag", "title"),
    [
        (0, "untuned state kept in 3 of 3", "Untuned state kept"),
        (200, "3 of 3 runs: best at the last step", "6 of 6 runs may be cut short"),
    ],
)
def test_a_best_step_at_either_end_is_told(tmp_path, best, flag, title):
    page = small_report(tmp_path, best_step=best)
    assert flag in page.asides["grounding-score-table", "read", "3"]
    assert title in words_of(page)
    told = read_json(tmp_path / "out/takeaways.json")["grounding"]
    assert [each["caution"] for each in told if each["title"] == title] == [True]


def test_a_gain_too_small_to_believe_is_told(tmp_path):
    page = small_report(tmp_path, untuned=True, gain=1.25, gain_se=1.5, folds=4)
    assert "untuned state kept in 3 of 3" in page.asides["grounding-score-table", "read", "3"]
    assert "Untuned state keptadapter in 3 of 3 runs and read in 3 of 3 runs." in words_of(page)
    assert words_of(page).count("+1.2 ± 1.5, 4 folds") == 6 and "(untuned)" in page.text


def test_ceilings_stand_beside_the_oracle_with_what_they_are(page, out):
    assert page.rows["grounding-score-table", "perfect_clips", None][0] == "Perfect clips, windows read off"
    assert page.terms["Perfect clips, windows read off"].startswith("the true moments’ clips at 1")
    assert page.terms["Look-alikes not told apart"].startswith("true moments and their look-alikes")
    scale = words_of(page).split("The scale")[1][:500]
    assert scale.index("“Look-alikes not told apart” 5") < scale.index("“Perfect clips, windows read off” 7")
    drawn = data_of(page, "charts")["grounding-tradeoff"]["layout"]["annotations"]
    assert "Look-alikes not told apart" in [note["text"] for note in drawn]
    flat = read_json(out / "scores.json")
    assert {"grounding/perfect_clips/MR-full-mAP", "grounding/subject_only/MR-full-mAP"} <= flat.keys()


def test_what_is_told_from_its_look_alikes_stands_in_a_table_and_in_the_scores(page, inputs, out):
    table = "grounding-lookalike-table"
    assert page.rows[table, None, None] == ["what", *KINDS, *["8 labelled videos"], "32 labelled videos"]
    assert page.rows[table, "source_val", None][1:] == ["87.0", "60.0"]
    shown = page.rows[table, "read", "32"]
    runs = [read_json(path) for path in sorted(inputs.runs.glob("grounding/read/k32-s*/scores.json"))]
    assert shown[1:] == [shown_as([run["discrimination"][kind] for run in runs]) for kind in KINDS]
    assert (table, "random", None) not in page.rows
    flat = read_json(out / "scores.json")
    assert flat["grounding/source_val/discrimination/order"] == 60.0
    assert flat["grounding/source_train/discrimination/move"] == 95.0
    expected = mean(run["discrimination"]["move"] for run in runs)
    assert flat["grounding/read/k32/discrimination/move"] == pytest.approx(expected, abs=1e-4)
    with (out / "scores.csv").open(newline="") as file:
        rows = {tuple(r[c] for c in ("strategy", "shots", "kind")): r for r in csv.DictReader(file)
                if r["metric"] == "discrimination"}  # fmt: skip
    assert float(rows["source_val", "", "order"]["mean"]) == 60.0 and rows["zero_shot", "0", "move"]["seeds"] == "1"
    of_read = read_json(out / "metrics/grounding/read-k32.json")
    assert of_read["discrimination move"] == pytest.approx(expected, abs=1e-4)
    assert not any(name == "summarization-lookalike-table" for name, *_ in page.rows)


@pytest.mark.parametrize(
    ("shares", "banner"),
    [
        ({"move": 87.0, "order": 60.0}, "This backbone does not know order; the table cannot show who learns it."),
        (
            {"move": 79.9, "order": 60.0},
            "looks like it for 79.9 % of pairs (move) and for 60.0 % (order): 50 % is chance",
        ),
        ({"move": 80.0, "order": 93.0}, None),
        ({}, None),
    ],
)
def test_a_banner_names_the_kinds_that_the_backbone_does_not_know(tmp_path, shares, banner):
    inputs = make_results(tmp_path, ("grounding",), **SMALL)
    write_json(inputs.runs / "grounding" / "source.json", {"discrimination": {"source_val": shares}})
    words = words_of(built(inputs, tmp_path / "out"))
    assert banner in words if banner else "This backbone does not know" not in words


def test_labels_without_look_alikes_make_a_page_without_the_table(tmp_path):
    inputs = make_results(tmp_path, ("grounding",), **SMALL)
    change_runs(inputs, "grounding", discrimination={})
    (inputs.runs / "grounding" / "source.json").unlink()
    page = built(inputs, tmp_path / "out")
    assert "grounding-lookalikes" not in page.ids and "Look-alikes" not in page.text.replace("Look-alikes not told", "")


def test_where_a_strategy_trains_and_its_budget_stand_in_the_score_table(page):
    row = page.rows["grounding-score-table", "read", "32"]
    assert row[-2] == "projection, feed-forward"
    assert page.asides["grounding-score-table", "read", "32"][-2:] == ["1.5 %", "budget 4,000, bottleneck 6"]
    assert page.rows["grounding-score-table", "zero_shot", "0"][-2] == "–"


@pytest.mark.parametrize(("seeds", "shots", "small"), [((0, 1), (8,), True), ((0, 1), (8, 32), False)])
def test_a_small_comparison_says_that_it_is_one(tmp_path, seeds, shots, small):
    inputs = make_results(tmp_path, ("grounding",), ("read", "adapter"), shots, seeds, videos=1)
    words = words_of(built(inputs, tmp_path / "out"))
    assert ("This is a small comparison, as the default is: one number of labelled videos, 2 seeds" in words) == small
    assert ("make study" in words) == small


def test_what_alignment_drew_together_is_told_beside_the_curves(page):
    assert "read-pvla 0.62 and 0.36" in words_of(page).split("What the alignment has drawn together")[1][:300]
    assert "with others’: read-pvla 0.62 and 0.36." in words_of(page).split("Learning curves")[1]


def test_the_chart_of_pairs_shows_the_corrected_verdict(page):
    axis = data_of(page, "charts")["grounding-paired"]["layout"]["yaxis"]
    verdicts = dict(text.split("<br>") for text in axis["ticktext"])
    assert list(verdicts) == axis["tickvals"] and set(verdicts) == {"read", "read-pvla", "lora", "full", "bias"}
    assert all(text.startswith("p ") and text.endswith("told apart") for text in verdicts.values())
    assert "for all 15 comparisons of two strategies, by Holm’s method" in words_of(page)


@pytest.fixture(scope="module")
def plain_pages(tmp_path_factory):
    """Rows that need no training below all strategies, and above them: page, inputs and folder of the report."""
    made = {}
    for level in (30.0, 80.0):
        root = tmp_path_factory.mktemp("plain")
        names = ("read", "adapter", "zero_shot")
        inputs = make_results(root, ("grounding",), names, shots=(8, 32), videos=4, plain=level)
        made[level] = built(inputs, root / "out"), inputs, root / "out"
    return made


def test_what_needs_no_training_stands_in_every_table(plain_pages):
    page, inputs, out = plain_pages[30.0]
    for table in ("score", "kind"):
        rows = [(name, shots) for of, name, shots in page.rows if of == f"grounding-{table}-table" and name]
        assert [name for name, _ in rows[:6]] == ["random", "cosine", "shots", "zero_shot", "map", "map"]
        assert [shots for _, shots in rows[4:6]] == ["8", "32"]
    shown = page.rows["grounding-score-table", "map", "32"]
    assert shown[0] == "Linear map (ridge)"
    assert shown[1] == shown_as(values_of(inputs, "grounding", "map", 32, "MR-full-mAP"))
    assert page.asides["grounding-score-table", "map", "32"][0] == "32 labelled videos"
    assert page.rows["grounding-score-table", "cosine", None][0] == "Cosine, no training"
    assert "Adapted is univtg, with 250,000 parameters" in words_of(page)
    assert page.terms["Linear map (ridge)"].startswith("that cosine after a linear map")
    flat = read_json(out / "scores.json")
    assert {"grounding/cosine/MR-full-mAP", "grounding/map/k8/MR-full-mAP/std"} <= flat.keys()
    files = {path.stem for path in (out / "metrics/grounding").iterdir()}
    assert {"cosine", "shots", "map-k8", "map-k32", "zero_shot", "read-k32"} <= files
    with (out / "scores.csv").open() as file:
        lines = {(row["strategy"], row["shots"], row["trainable"]) for row in csv.DictReader(file)}
    assert {("cosine", "", ""), ("map", "8", "0"), ("map", "32", "0"), ("zero_shot", "0", "0")} <= lines


@pytest.mark.parametrize("level", [30.0, 80.0])
def test_the_first_card_says_whether_training_was_worth_it(plain_pages, level):
    page, *_ = plain_pages[level]
    words = words_of(page)
    first = words.split("What the numbers say")[1][:600]
    names = "“Cosine, no training”, “Shot boundaries + cosine” and “Linear map (ridge)”"
    if level == 30.0:
        assert first.startswith(f" Better than {names}The best strategy, adapter, has ")
        assert "not shown to beat" not in words
    else:
        assert first.startswith(f" Training is not shown to beat {names}The best strategy, adapter, has ")
        assert f"That is not shown to be better than {names}, which need no training." in first
    scale = words.split("The scale")[1][:500]
    assert scale.index("“Cosine, no training”") < scale.index("zero-shot 3") < scale.index("“Linear map (ridge)”")


def test_charts_draw_what_needs_no_training(plain_pages):
    page, inputs, _ = plain_pages[80.0]
    charts = data_of(page, "charts")
    tradeoff = [note["text"] for note in charts["grounding-tradeoff"]["layout"]["annotations"]]
    assert {"Cosine, no training", "Shot boundaries + cosine", "Linear map (ridge)"} <= set(tradeoff)
    assert tradeoff.count("Linear map (ridge)") == 1
    close = {
        note["text"]: (note["x"], note["yanchor"]) for note in charts["grounding-tradeoff"]["layout"]["annotations"]
    }
    assert close["Cosine, no training"] != close["Shot boundaries + cosine"], "labels of near lines hide each other"
    series = {trace["name"]: trace for trace in charts["grounding-shots"]["data"]}
    drawn = series["Linear map (ridge)"]
    expected = [mean(values_of(inputs, "grounding", "map", k, "MR-full-mAP")) for k in (8, 32)]
    assert drawn["y"] == pytest.approx(expected) and drawn["line"]["dash"] == "dash"
    notes = [note["text"] for note in charts["grounding-shots"]["layout"]["annotations"]]
    assert "Cosine, no training" in notes and "Linear map (ridge)" not in notes
    kinds = charts["grounding-kinds"]["data"][0]["y"]
    assert len(kinds) == len(set(kinds)) and "Linear map (ridge)" in kinds


def test_warnings_stand_at_their_row_and_below_the_scores(tmp_path):
    inputs = make_results(tmp_path, ("grounding",), ("read", "zero_shot"), shots=(8,), videos=2, plain=30.0)
    said = {
        "read/k8-s1": ["9 of 12 first windows span 95% of <their> video"],
        "zero_shot/k0-s0": ["all clips have one score"],
    }
    for run, warnings in said.items():
        path = inputs.runs / "grounding" / run / "scores.json"
        write_json(path, read_json(path) | {"warnings": warnings})
    page = built(inputs, tmp_path / "out")
    assert page.asides["grounding-score-table", "read", "8"][0] == "warning in 1 of 3"
    assert page.asides["grounding-score-table", "zero_shot", "0"][0] == "warning"
    assert page.terms["read, 8 shots, seed 1"] == said["read/k8-s1"][0]
    assert page.terms["zero-shot"] == said["zero_shot/k0-s0"][0]
    assert "2 warningszero-shot: all clips have one score. 1 more stands below the scores." in words_of(page)
    assert read_json(tmp_path / "out/metrics/grounding/read-k8.json")["warnings"] == 1
    assert "warnings" not in read_json(tmp_path / "out/metrics/grounding/map-k8.json")


def test_few_queries_are_counted(tmp_path):
    page = small_report(tmp_path, scores=dict.fromkeys(METRICS["grounding"], 25.0))
    assert "Only 4 test queries, of 2 videos" in words_of(page)
    assert page.asides["grounding-score-table", "read", "3"].count("1 of 4") == 2  # R1 at .5 and .7
