import json
import re
from itertools import pairwise

import jsonschema
import numpy as np
import pytest

from pipeline.sources.montage.phrases import MOVES, PHRASEBOOKS
from pipeline.sources.montage.scenes import (
    FPS,
    Query,
    Scene,
    SceneSegment,
    annotation_rows,
    make_scene,
    moves_of,
    segment_rows,
    summary_row,
    video_ids,
)
from pipeline.sources.montage.subjects import PHOTOGRAPHS
from read.backbones.tokenizer import train_tokenizer
from read.data import Summary
from read.data.annotations import load_annotations, parse
from read.metrics.summarization import rouge
from read.summarization.summarize import shuffled

NUMBER = {"type": "number", "minimum": 0}
WINDOWS = {
    "type": "array",
    "minItems": 1,
    "items": {"type": "array", "items": NUMBER, "minItems": 2, "maxItems": 2},
}
SCORES = {
    "type": "array",
    "items": {"type": "integer", "minimum": 0, "maximum": 4},
    "minItems": 3,
    "maxItems": 3,
}
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": [
        "qid",
        "query",
        "vid",
        "duration",
        "relevant_windows",
        "relevant_clip_ids",
        "saliency_scores",
        "kind",
        "distractors",
    ],
    "properties": {
        "qid": {"type": "integer"},
        "query": {"type": "string", "pattern": r"^[a-z]+( [a-z]+)+$"},
        "vid": {"type": "string", "pattern": r"^(source|target)_(train|test)_\d{4}$"},
        "duration": {"type": "number", "minimum": 26, "maximum": 38},
        "relevant_windows": WINDOWS,
        "relevant_clip_ids": {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0}},
        "saliency_scores": {"type": "array", "minItems": 1, "items": SCORES},
        "kind": {"enum": ["move", "order"]},
        "distractors": WINDOWS,
        "split": {"enum": ["train", "test"]},
    },
}


@pytest.fixture(scope="module")
def scenes() -> dict[str, list[Scene]]:
    return {
        "source": [make_scene(vid, "source", 0) for vid in video_ids("source", 100, 0)],
        "target": [make_scene(vid, "target", 0) for vid in video_ids("target", 52, 130)],
    }


def jsonl(rows) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_annotations_follow_the_schema_and_load(scenes, tmp_path):
    schema = jsonschema.validators.validator_for(SCHEMA)(SCHEMA)  # which `validate` would make anew for every row
    for domain, made in scenes.items():
        rows = [row for scene in made for row in annotation_rows(scene, 2.0)]
        for row in rows:
            schema.validate(row)
            assert ("split" in row) == (domain == "target")
            assert len(row["relevant_clip_ids"]) == len(row["saliency_scores"])
        (tmp_path / "annotations.jsonl").write_text(jsonl(rows))
        assert len(load_annotations(tmp_path / "annotations.jsonl", 2.0)) == sum(len(scene.queries) for scene in made)


def test_annotations_are_the_same_bytes_everywhere(scenes):
    text = jsonl(row for scene in scenes["target"] for row in annotation_rows(scene, 2.0))
    again = [make_scene(scene.vid, "target", 0) for scene in reversed(scenes["target"])][::-1]
    assert jsonl(row for scene in again for row in annotation_rows(scene, 2.0)) == text
    other = make_scene(scenes["target"][0].vid, "target", 1)
    assert other != scenes["target"][0]


def test_more_videos_leave_the_others_as_they_were():
    few, many = video_ids("target", 2, 3), video_ids("target", 5, 9)
    assert set(few) < set(many)


def test_segments_fill_the_video_at_whole_frames(scenes):
    for scene in scenes["source"] + scenes["target"]:
        bounds = [0.0, *(segment.end for segment in scene.segments)]
        assert [segment.start for segment in scene.segments] == bounds[:-1]
        assert all(3 <= segment.end - segment.start <= 6 for segment in scene.segments)
        assert all((bound * FPS).is_integer() for bound in bounds)
        assert scene.duration % 2 == 0
        assert len({segment.subject for segment in scene.segments}) == 3
        subjects = [segment.subject for segment in scene.segments]
        assert all(a != b for a, b in pairwise(subjects))


def test_domains_share_subjects_but_no_move_of_a_subject(scenes):
    shown = {
        domain: {(segment.subject, segment.move) for scene in made for segment in scene.segments}
        for domain, made in scenes.items()
    }
    assert not shown["source"] & shown["target"]
    assert (
        {subject for subject, _ in shown["source"]} == {subject for subject, _ in shown["target"]} == set(PHOTOGRAPHS)
    )
    for subject in PHOTOGRAPHS:
        assert sorted(moves_of(subject, "source") + moves_of(subject, "target")) == sorted(MOVES)
    for move in MOVES:
        assert sum(move in moves_of(subject, "source") for subject in PHOTOGRAPHS) == len(PHOTOGRAPHS) // 2


def test_the_target_says_moves_and_relations_in_new_words(scenes):
    words = {
        domain: [word for scene in made for query in scene.queries for word in query.text.split()]
        for domain, made in scenes.items()
    }
    told = [word for word in words["target"] if word not in {"the", "a", "an", *PHOTOGRAPHS}]
    new = np.mean([word not in set(words["source"]) for word in told])
    assert 0.5 < new < 0.95


def named(text: str) -> list[str]:
    """Subjects named in a sentence, in order."""
    return [word for word in re.findall(r"\w+", text) if word in PHOTOGRAPHS]


def test_order_queries_mean_exactly_the_right_occurrences(scenes):
    for scene in scenes["source"] + scenes["target"]:
        subjects = [None, *(segment.subject for segment in scene.segments), None]
        for query in (query for query in scene.queries if query.kind == "order"):
            asked, neighbour = named(query.text)
            step = -1 if "after" in query.text.split() or "following" in query.text.split() else 1
            right = [
                scene.segments[place - 1]
                for place in range(1, len(subjects) - 1)
                if subjects[place] == asked and subjects[place + step] == neighbour
            ]
            assert list(query.segments) == right
            assert 0 < len(right) < subjects.count(asked)


def test_move_queries_mean_every_occurrence_and_need_the_move(scenes):
    for scene in scenes["source"] + scenes["target"]:
        for query in (query for query in scene.queries if query.kind == "move"):
            (subject,) = named(query.text)
            (move,) = {segment.move for segment in query.segments}
            same = [segment for segment in scene.segments if segment.subject == subject]
            assert [segment for segment in same if segment.move == move] == list(query.segments)
            assert len(query.segments) < len(same)
            said = {way.format(noun) for way in PHRASEBOOKS[scene.domain].moves[move] for noun in query.text.split()}
            assert query.text in said


def test_distractors_are_what_else_shows_the_subject(scenes):
    for scene in scenes["source"][:40] + scenes["target"][:40]:
        for query, row in zip(scene.queries, annotation_rows(scene, 2.0), strict=True):
            asked = named(query.text)[0]
            spans = [[segment.start, segment.end] for segment in scene.segments if segment.subject == asked]
            assert sorted(row["relevant_windows"] + row["distractors"]) == spans
            assert row["distractors"] and not any(window in row["distractors"] for window in row["relevant_windows"])


def test_saliency_grades_the_covered_share_by_three_annotators():
    framing = (0.0, 0.0, 0.0)
    first = SceneSegment(0.0, 2.5, "cat", "still", "", framing)
    second = SceneSegment(2.5, 6.75, "moon", "still", "", framing)
    third = SceneSegment(6.75, 8.0, "cat", "fade", "", framing)
    scene = Scene("target_test_0003", "target", (first, second, third), (Query("the moon", "move", (second,)),))
    (row,) = annotation_rows(scene, 2.0)
    assert row["relevant_windows"] == [[2.5, 6.75]]
    assert row["relevant_clip_ids"] == [1, 2, 3]  # covered by 3/4, 1 and 3/8
    assert row["saliency_scores"] == [[3, 3, 3], [4, 4, 4], [2, 2, 1]]


def test_relevant_clips_are_those_that_would_be_derived(scenes):
    for scene in scenes["target"][:40]:
        for row in annotation_rows(scene, 2.0):
            bare = {key: value for key, value in row.items() if key not in {"relevant_clip_ids", "saliency_scores"}}
            assert list(parse(bare, 2.0).clip_ids) == row["relevant_clip_ids"]


def test_segments_tell_the_video(scenes):
    for scene in scenes["source"][:20]:
        assert {tuple(row) for row in segment_rows(scene)} == {("vid", "start", "end", "subject", "move", "text")}


@pytest.mark.parametrize("domain", ["source", "target"])
def test_a_summary_takes_the_video(scenes, domain):
    """It leads with the subject that nobody speaks of, under its longest move; the speaker names the others."""
    book = PHRASEBOOKS[domain]
    for scene in scenes[domain][:40]:
        row = summary_row(scene)
        said, told = named(row["transcript"]), named(row["summary"])
        shown = {segment.subject for segment in scene.segments}
        assert len(said) == len(set(said)) == 2 and set(told) == shown and len(told) == 3
        unsaid = told[0]
        assert {unsaid} == shown - set(said)
        (move,) = (move for move, shot in book.shots.items() if shot in row["summary"])
        seconds = {m: sum(s.end - s.start for s in scene.segments if (s.subject, s.move) == (unsaid, m)) for m in MOVES}
        assert seconds[move] == max(seconds.values())
        assert not any(shot in row["transcript"] for shot in book.shots.values())


def test_of_no_summary_a_3_gram_stands_twice(scenes):
    """Of words or of the source's tokens; or generation, which forbids that, could not write it."""
    rows = {domain: [summary_row(scene) for scene in made] for domain, made in scenes.items()}
    tokenizer = train_tokenizer([row[key] for row in rows["source"] for key in ("transcript", "summary")], 600)
    for row in rows["source"] + rows["target"]:
        for parts in (row["summary"].split(), tokenizer(row["summary"]).input_ids):
            triples = list(zip(parts, parts[1:], parts[2:], strict=False))
            assert len(triples) == len(set(triples))


def test_the_targets_shots_are_new_but_their_words_are_not(scenes):
    source, target = (set(PHRASEBOOKS[domain].shots.values()) for domain in ("source", "target"))
    assert len(source) == len(target) == len(MOVES) and not source & target
    rows = [summary_row(scene) for scene in scenes["source"]]
    heard = {word.strip(".,") for row in rows for key in ("transcript", "summary") for word in row[key].split()}
    assert {word for shot in target for word in shot.split()} <= heard


@pytest.mark.parametrize("domain", ["source", "target"])
def test_the_summary_of_another_video_says_little(scenes, domain):
    summaries = [Summary(**summary_row(scene)) for scene in scenes[domain]]
    (others,) = shuffled(summaries, draws=1)
    scores = rouge([row["summary"] for row in others], [summary.summary for summary in summaries])
    assert scores["ROUGE-L-whitespace"] < 30
