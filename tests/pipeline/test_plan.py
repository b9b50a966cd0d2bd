"""What a plan says on its one screen, from Snakemake's words."""

import pytest

from pipeline.modules import CACHE, Sources
from pipeline.plan import LINES, plan

PARAMS = "Params have changed since last execution: Union of exclusive params before and now across all output: "


def job(rule: str, reason: str) -> str:
    head = f"[Thu Jan  1 00:00:00 2026]\nrule {rule}:\n    input: a, b\n    output: c\n"
    return f"{head}    jobid: 3\n    reason: {reason}\n"


def test_nothing():
    assert plan("Building DAG of jobs...\nNothing to be done (all requested files are present).\n") == [
        "Nothing would run: all is up to date."
    ]


def test_jobs_are_grouped_by_rule_and_reason_and_what_follows_is_one_line():
    old = '\'{"clip_len":2.0,"strategies":{"read_pvla":{"mass":0.5}}}\''
    new = '\'{"clip_len":2.0,"strategies":{"read_pvla":{"mass":0.3}}}\''
    follows = "Input files updated by another job: models/x"
    text = "".join(
        [job("train_run", f"{PARAMS}before: {old} now: {new} ")] * 3
        + [job("train", follows), job("report", follows), job("all", follows)]
        + [job("annotations", "Missing output files: data/raw/a/annotations.jsonl, data/raw/a/b.json")]
    )
    assert plan(text) == [
        "6 jobs would run:",
        "    3 train_run    strategies.read_pvla.mass 0.5 -> 0.3",
        "    1 annotations  not there: data/raw/a/annotations.jsonl and 1 more",
        "and what follows: 1 train, 1 report",
    ]


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (f"{PARAMS}before: '0123456789abcdef' now: '0123456789abcdee' ", "code"),
        (f"{PARAMS}before: <nothing exclusive> now: '{{\"runs\":[0]}}' ", "runs nothing -> [0]"),
        (f'{PARAMS}before: \'{{"a":{{}}}}\' now: \'{{"a":{{"b":4}}}}\' ', "a.b nothing -> 4"),
        (f"{PARAMS}before: '{{\"a\":1}}','0123456789abcdef' now: '{{\"a\":2}}','1123456789abcdef' ", "a 1 -> 2, code"),
        ("Code has changed since last execution", "its rule changed"),
        ("Set of input files has changed since last execution", "other inputs than before"),
        ("Updated input files: data/x.json", "changed: data/x.json"),
        ("Incomplete output files: models/x", "half made: models/x"),
    ],
)
def test_a_reason_in_a_few_words(reason, words):
    assert plan(job("split", reason))[1].split(maxsplit=2)[2] == words


def test_it_is_one_screen():
    text = "".join(job("train_run", f"Missing output files: models/{number}") for number in range(500))
    assert len(plan(text)) <= LINES


def test_code_that_changed_since_the_last_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "read").mkdir()
    for name in ("__init__", "a", "b", "c"):
        (tmp_path / "read" / f"{name}.py").write_text("X = 1\n")
    sources = Sources()
    sources.digest(["read.a", "read.b", "read.c"])
    assert sources.changed() == []
    sources.save()
    assert CACHE.is_file()
    (tmp_path / "read/a.py").write_text("X = 1  # the same\n")
    (tmp_path / "read/b.py").write_text("X = 2\n")
    (tmp_path / "read/c.py").unlink()
    assert Sources().changed() == ["read/b.py", "read/c.py"]
