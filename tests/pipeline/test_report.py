"""The page and tables made from a results folder of seeded random numbers (no model was run for any of them)."""

import csv
import json
import random
from html.parser import HTMLParser
from statistics import mean, stdev

import numpy as np
import pytest
from safetensors.numpy import save_file

from pipeline.report import build_report, main
from pipeline.reporting.inputs import Inputs, Provenance
from pipeline.reporting.page import TEMPLATES
from read.encoders.frames import write_video
from read.errors import InputError
from read.files import read_json, write_json, write_jsonl

DURATION, CLIP_LEN, TOTAL = 20.0, 2.0, 250_000
TRAINABLE = {
    "zero_shot": 0,
    "bias": 3_107,
    "adapter": 3_377,
    "read": 3_665,
    "read_pvla": 3_665,
    "lora": 7_777,
    "full": 250_000,
}
METRICS = ("MR-full-mAP", "MR-full-R1@0.5", "MR-full-R1@0.7", "HL-clip-AP", "HL-min-VeryGood-mAP")
KINDS = ("move", "order")
QUERIES = ("the camera pans left over the cat", "the coffee <script>alert(1)</script> & after", "zoom onto the moon")


def make_results(root, strategies=tuple(TRAINABLE), shots=(8, 32), seeds=(0, 1, 2), videos=6, plans=True):
    """A plausible small results folder; returns the Inputs of a report on it."""
    dice = random.Random(5)
    annotations = make_raw(root / "raw", dice, videos)
    runs = root / "runs"
    references = {"random": reference(dice, 22), "oracle": reference(dice, 99)}
    write_json(runs / "references.json", references)
    for strategy in strategies:
        level = 38 if strategy == "zero_shot" else 40 + 4 * np.log10(TRAINABLE[strategy])
        for k, seed in [(0, 0)] if strategy == "zero_shot" else [(k, seed) for k in shots for seed in seeds]:
            folder = runs / strategy / f"k{k}-s{seed}"
            write_run(folder, strategy, k, seed, level + 3 * np.log2(max(k, 8) / 8), annotations, dice)
            if plans and strategy == "read_pvla":
                write_plans(folder, annotations, dice)
    provenance = Provenance(
        params={"dataset": "toy", "train": {"steps": 200}}, data={"data/raw/toy": "9f" * 16},
        commit="ab" * 20, dirty=True, packages={"torch": "2.13.0"}, date="2030-01-01", device="cpu",
        durations={"train": 81.3, "extract": 12.0},
    )  # fmt: skip
    return Inputs("toy", runs, root / "raw", "MR-full-mAP", 4, CLIP_LEN, provenance)


def make_raw(raw, dice, videos):
    colours = np.random.default_rng(5)
    rows = []
    for v in range(videos + 1):
        for i, kind in enumerate(KINDS):
            start = 2.0 * dice.randrange(1, 7)
            rows.append(
                {"qid": 10 * v + i, "query": QUERIES[(v + i) % 3], "vid": f"toy{v}", "duration": DURATION}
                | {"relevant_windows": [[start, start + 4]], "kind": kind, "split": "test"}
            )
        if v < videos:
            shade = np.linspace(0, 255, 64)[None, :, None] * colours.random(3)
            frames = (np.roll(np.tile(shade, (48, 1, 1)), 3 * t, axis=1).astype(np.uint8) for t in range(80))
            write_video(raw / "videos" / f"toy{v}.mp4", frames, fps=4)
    write_jsonl(raw / "annotations.jsonl", rows)
    files = {f"toy{v}": {"file": f"toy{v}.mp4", "sha256": "0" * 64} for v in range(videos)}
    write_json(raw / "manifest.json", {"videos": files, "missing": {f"toy{videos}": "HTTP 404 <gone>"}})
    return rows[: 2 * videos]


def reference(dice, level):
    return {
        "scores": {name: level + dice.uniform(-1, 1) for name in METRICS},
        "by_kind": {kind: {name: level + dice.uniform(-2, 1) for name in METRICS} for kind in KINDS},
    }


def write_run(folder, strategy, k, seed, level, annotations, dice):
    level += dice.gauss(0, 1.5)
    trainable = TRAINABLE[strategy]
    grid = (
        [{"learning_rate": rate, "score": level + dice.uniform(-6, 0)} for rate in (1e-3, 3e-3, 1e-2)]
        if trainable
        else []
    )
    best = max(grid, key=lambda point: point["score"])["learning_rate"] if grid else None
    row = {"strategy": strategy, "shots": k, "seed": seed, "backbone": "univtg", "trainable": trainable, "total": TOTAL}
    row |= {"share": trainable / TOTAL, "adapter_bytes": 4 * trainable, "learning_rate": best, "grid": grid}
    row |= {
        "steps": 200,
        "best_step": 150,
        "seconds": 6.0,
        "n_queries": len(annotations),
        "n_videos": len(annotations) // 2,
    }
    row["scores"] = {name: level - 5 * i + dice.uniform(-1, 1) for i, name in enumerate(METRICS)}
    row["by_kind"] = {
        kind: {n: v + shift for n, v in row["scores"].items()} for kind, shift in zip(KINDS, (6, -6), strict=True)
    }
    write_json(folder / "scores.json", row)
    write_jsonl(folder / "predictions.jsonl", [prediction(a, dice) for a in annotations])
    if trainable:
        scores = [level - 20 * np.exp(-step / 60) + dice.uniform(-1, 1) for step in range(0, 201, 25)]
        lines = [f"{25 * i},{2 / (i + 1):.3f},{value:.3f}" for i, value in enumerate(scores)]
        (folder / "curve.csv").write_text("\n".join(["step,loss,val_score", *lines, "201,0.1,"]) + "\n")


def prediction(annotation, dice):
    true = annotation["relevant_windows"][0]
    first = [max(0.0, min(16.0, true[0] + dice.choice((-4, -2, 0, 0, 2, 6)))), 0, 0.9]
    first[1] = first[0] + 4
    other = sorted(dice.sample(range(0, 20, 2), 2))
    saliency = [float(true[0] <= 2 * i < true[1]) + dice.uniform(-0.4, 0.4) for i in range(10)]
    windows = [first, [float(other[0]), float(other[1]), 0.4]]
    return {key: annotation[key] for key in ("qid", "query", "vid")} | {
        "pred_relevant_windows": windows, "pred_saliency_scores": saliency,
    }  # fmt: skip


def write_plans(folder, annotations, dice):
    noise = np.random.default_rng(dice.randrange(99))
    words = {a["qid"]: ["<start>", *a["query"].split()[:6], "<end>"] for a in annotations}
    plans = {str(qid): noise.random((10, len(w)), dtype=np.float32) ** 6 for qid, w in words.items()}
    save_file({qid: 0.5 * plan / plan.sum() for qid, plan in plans.items()}, folder / "plans.safetensors")
    write_json(folder / "plans.json", {str(qid): {"words": w, "mass": 0.5} for qid, w in words.items()})


class Page(HTMLParser):
    """Addresses, table cells by row, text outside of scripts, and the scripts."""

    def __init__(self, html):
        super().__init__()
        self.addresses, self.rows, self.scripts, self.text, self.stack, self.row = [], {}, {}, "", [], None
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.addresses += [(tag, attrs[name]) for name in ("src", "href", "action", "poster") if name in attrs]
        self.stack = [tag, attrs.get("id", "")]
        if tag == "table":
            self.table = attrs.get("id")
        if tag == "tr":
            self.row = (self.table, attrs.get("data-row"), attrs.get("data-shots"))
        if tag in ("td", "th") and self.row:
            self.rows.setdefault(self.row, []).append("")

    def handle_endtag(self, tag):
        self.stack = []
        if tag == "tr":
            self.row = None

    def handle_data(self, text):
        if self.stack and self.stack[0] in ("script", "style"):
            self.scripts[self.stack[1]] = text
            return
        self.text += text
        if self.row and self.rows.get(self.row):
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
    return Page((out / "index.html").read_text(encoding="utf-8"))


def values_of(inputs: Inputs, strategy: str, shots: int, metric: str, kind: str | None = None) -> list[float]:
    rows = [read_json(path) for path in sorted(inputs.runs.glob(f"{strategy}/k{shots}-s*/scores.json"))]
    return [(row["by_kind"][kind] if kind else row["scores"])[metric] for row in rows]


def test_page_fetches_nothing(page, out):
    assert page.addresses and all(address.startswith(("#", "data:")) for _, address in page.addresses)
    html = (out / "index.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in html
    for sheet in TEMPLATES.glob("*.css"):
        assert "url(" not in sheet.read_text() and "@import" not in sheet.read_text()
    assert html.count("plotly.js v") == 1


def test_every_row_stands_in_the_score_table(page):
    assert {("score-table", "random", None), ("score-table", "oracle", None)} <= page.rows.keys()
    for name, trainable in TRAINABLE.items():
        for shots in ("8", "32") if trainable else ("0",):
            cells = page.rows["score-table", name, shots]
            assert cells[0] == name.replace("_", "-")
            assert cells[len(METRICS) + 2] == f"{trainable:,}"


@pytest.mark.parametrize("shots", [8, 32])
def test_table_holds_mean_and_spread_over_seeds(page, inputs, shots):
    for name in set(TRAINABLE) - {"zero_shot"}:
        for column, metric in enumerate(METRICS):
            values = values_of(inputs, name, shots, metric)
            shown = page.rows["score-table", name, str(shots)][1 + column]
            assert shown == f"{mean(values):.1f} ± {stdev(values):.1f}"


def test_kinds_stand_apart(page, inputs):
    cells = page.rows["kind-table", "read", None]  # rows of 8 and of 32 videos, one after the other
    expected = [values_of(inputs, "read", k, METRICS[i], kind) for k in (8, 32) for kind in KINDS for i in range(3)]
    shown = [cell for cell in cells if "±" in cell]
    assert shown == [f"{mean(values):.1f} ± {stdev(values):.1f}" for values in expected]


def test_flat_scores_and_csv_agree_with_the_runs(out, inputs):
    flat = read_json(out / "scores.json")
    values = values_of(inputs, "lora", 32, "HL-clip-AP")
    assert flat["lora/k32/HL-clip-AP"] == pytest.approx(mean(values), abs=1e-4)
    assert flat["lora/k32/HL-clip-AP/std"] == pytest.approx(stdev(values), abs=1e-4)
    assert all(isinstance(value, float) for value in flat.values())
    with (out / "scores.csv").open(newline="") as file:
        rows = {(r["strategy"], r["shots"], r["kind"], r["metric"]): r for r in csv.DictReader(file)}
    order = values_of(inputs, "full", 8, "MR-full-mAP", "order")
    assert float(rows["full", "8", "order", "MR-full-mAP"]["mean"]) == pytest.approx(mean(order))
    assert ("oracle", "", "all", "HL-clip-AP") in rows


def test_no_number_is_missing_in_silence(page, out):
    def refuse(constant):
        raise AssertionError(constant)

    assert not {"nan", "none", "inf", "undefined"} & set(page.text.lower().split())
    assert "nan" not in (out / "scores.csv").read_text()
    for name in ("charts-data", "showcase-data", "styles-data"):
        json.loads(page.scripts[name], parse_constant=refuse)


def test_text_of_others_is_escaped(page, out):
    html = (out / "index.html").read_text(encoding="utf-8")
    assert "<script>alert" not in html and "<gone>" not in html
    queries = [example["query"] for example in json.loads(page.scripts["showcase-data"])["examples"]]
    assert set(queries) <= set(QUERIES)


def test_missing_videos_are_listed(page):
    assert "6 of 7 test videos" in " ".join(page.text.split())
    assert any(table == "missing-table" for table, *_ in page.rows)
    assert "HTTP 404 <gone>" in page.text


def test_showcase_has_each_kind_its_video_and_the_plan(page):
    shown = json.loads(page.scripts["showcase-data"])
    assert len(shown["examples"]) == 4
    assert {example["kind"] for example in shown["examples"]} == set(KINDS)
    assert len({example["vid"] for example in shown["examples"]}) == 4
    for example in shown["examples"]:
        assert len(shown["videos"][example["vid"]]) > 500
        assert set(example["runs"]) == set(TRAINABLE)
        plan = example["runs"]["read_pvla"]["plan"]
        assert plan["mass"] == pytest.approx(0.5, abs=1e-3) and plan["words"][0] == "<start>"
        assert example["runs"]["adapter"]["plan"] is None


def test_same_inputs_give_the_same_page(inputs, out, tmp_path):
    build_report(inputs, tmp_path)
    assert (tmp_path / "index.html").read_bytes() == (out / "index.html").read_bytes()


def test_provenance_is_shown(page):
    assert "abababababab" in page.text and "with uncommitted changes" in page.text
    assert "steps: 200" in page.text and "1 min 21 s" in page.text


def test_one_seed_and_one_strategy_without_plans(tmp_path):
    inputs = make_results(tmp_path, strategies=("read",), shots=(8,), seeds=(4,), videos=2, plans=False)
    build_report(inputs, tmp_path / "out")
    page = Page((tmp_path / "out" / "index.html").read_text(encoding="utf-8"))
    assert page.rows["score-table", "read", "8"][1].endswith("± n/a")
    assert "spread unknown" in page.text
    assert "read/k8/HL-clip-AP/std" not in read_json(tmp_path / "out" / "scores.json")


def test_command_line(tmp_path, monkeypatch):
    inputs = make_results(tmp_path, strategies=("read",), shots=(8,), seeds=(0,), videos=1)
    for source, place in ((inputs.runs, "results/runs/toy"), (inputs.raw, "data/raw/toy")):
        (tmp_path / place).parent.mkdir(parents=True)
        source.rename(tmp_path / place)
    settings = {"dataset": "toy", "clip_len": 2.0, "device": "cpu", "report": {"metric": "HL-clip-AP", "examples": 1}}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["report", "--settings", json.dumps(settings)])
    main()
    assert "examples: 1" in (tmp_path / "results/report/index.html").read_text(encoding="utf-8")


def test_what_does_not_fit_is_refused(tmp_path):
    inputs = make_results(tmp_path, strategies=("read", "adapter"), shots=(8,), seeds=(0,), videos=1)
    scores = inputs.runs / "read" / "k8-s0" / "scores.json"
    good = read_json(scores)
    write_json(scores, good | {"n_queries": 1})
    with pytest.raises(InputError, match="different test sides"):
        build_report(inputs, tmp_path / "out")
    write_json(scores, good | {"trainable": "many"})
    with pytest.raises(InputError, match=r"read/k8-s0/scores\.json: trainable"):
        build_report(inputs, tmp_path / "out")
    write_json(scores, good)
    (inputs.runs / "read" / "k8-s0" / "curve.csv").unlink()
    with pytest.raises(InputError, match=r"curve\.csv"):
        build_report(inputs, tmp_path / "out")
    assert not (tmp_path / "out").exists()
