"""Videos stitched anew: each clip is known by its feature, so that what a label says can be read off the video."""

import math
from itertools import groupby

import pytest
import torch

from pipeline.plugins import RESTITCHERS
from pipeline.restitch.montage import Restitcher, meanings
from pipeline.sources.montage.phrases import PHRASEBOOKS, RELATIONS
from pipeline.sources.montage.scenes import SEGMENTS, annotation_rows, make_scene, segment_rows, video_ids
from pipeline.sources.montage.subjects import PHOTOGRAPHS
from pipeline.tasks.grounding import anew
from read.data import Sample
from read.data.annotations import parse
from read.files import write_jsonl

SCENES = [make_scene(vid, "source", 3) for vid in video_ids("source", 12, 0)]
TRAINED = SCENES[:9]  # the others' segments are in the file as well


def clip(number: int, scene: int) -> tuple[float, float]:
    return (float(scene), float(number))


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    """A clip's feature is its video and its number, a sentence's the number of its query."""
    found = []
    for place, scene in enumerate(TRAINED):
        video = torch.tensor([clip(number, place) for number in range(math.ceil(scene.duration / 2))])
        for row in annotation_rows(scene, 2.0):
            text = torch.full((3, 4), float(row["qid"]))
            found.append(Sample.labelled(video, text, parse(row, 2.0), 2.0, torch.full((2,), float(row["qid"]))))
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("raw")
    write_jsonl(path / "segments.jsonl", [row for scene in SCENES for row in segment_rows(scene)])
    return path


def drawn(samples, folder, batches=20, steps=10, size=8, seed=0) -> list[list[Sample]]:
    restitcher = RESTITCHERS.load("montage")(samples, folder, steps)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return [restitcher(size) for _ in range(batches)]


def shots(sample: Sample) -> list[tuple[str, str, int]]:
    """Subject, move and clips of each shot of a video, as the source's segments say of its clips."""
    segments = []
    for place, number in sample.video.tolist():
        middle = 2 * number + 1
        (segment,) = (each for each in TRAINED[int(place)].segments if each.start <= middle < each.end)
        segments.append((int(place), segment))
    return [(each.subject, each.move, len(list(group))) for (_, each), group in groupby(segments)]


def test_a_label_says_what_the_new_video_shows(samples, folder):
    several = {"order": 0, "move": 0}
    for sample in (sample for batch in drawn(samples, folder) for sample in batch):
        query, found = sample.question.query, shots(sample)
        asked, *other = [word for word in query.split() if word in PHOTOGRAPHS]
        subjects = [None, *(subject for subject, _, _ in found), None]
        assert SEGMENTS[0] <= len(found) <= SEGMENTS[1] and len(set(subjects)) <= 4
        right, like, begin = [], [], 0
        for place, (subject, move, clips) in enumerate(found):
            if other:
                meant = subjects[place if "after" in query else place + 2] == other[0]
            else:
                meant = query in {way.format(asked) for way in PHRASEBOOKS["source"].moves[move]}
            if subject == asked:
                (right if meant else like).append((begin, begin + 2.0 * clips))
            begin += 2.0 * clips
        assert list(sample.annotation.windows) == right and like, "some of the subject's, not all"
        assert sample.annotation.duration == sample.question.duration == begin == 2.0 * len(sample.video)
        assert sample.targets["foreground"].bool().equal(sample.targets["relevant"])
        several["order" if other else "move"] += len(right) > 1
    assert min(several.values()) > 0


def test_sentences_are_the_sources_own_and_come_with_their_features(samples, folder):
    own = {sample.question.qid: sample for sample in samples}
    batches = drawn(samples, folder)
    for sample in (sample for batch in batches for sample in batch):
        same = own[sample.question.qid]
        assert sample.question.query == same.question.query
        assert torch.equal(sample.text, same.text) and torch.equal(sample.sentence, same.sentence)
    videos = {tuple(map(tuple, sample.video.tolist())) for batch in batches for sample in batch}
    assert len(videos) == sum(map(len, batches)), "no two are alike"


def test_order_alone_comes_first_and_then_moves_beside_it(samples, folder):
    shares = [
        sum(any(f" {relation} " in sample.question.query for relation in RELATIONS) for sample in batch) / len(batch)
        for batch in drawn(samples, folder, batches=10, steps=10, size=6)
    ]
    assert shares == [1.0] * 4 + [1 / 3] * 6


def test_batches_are_as_the_seed_has_them(samples, folder):
    one, same, other = (drawn(samples, folder, 2, seed=seed) for seed in (0, 0, 1))
    rows = [[(each.question.qid, each.video.tolist()) for batch in of for each in batch] for of in (one, same, other)]
    assert rows[0] == rows[1] != rows[2]


def test_every_sentence_of_the_montage_has_one_meaning():
    known = meanings()
    for scene in [*SCENES, *(make_scene(vid, "target", 0) for vid in video_ids("target", 5, 0))]:
        for query in scene.queries:
            right = known[query.text].finds(scene.segments)
            assert [segment for segment, meant in zip(scene.segments, right, strict=True) if meant] == list(
                query.segments
            )


def test_what_the_joiner_made_stays(samples, folder):
    batch = samples[:6]
    pieces = [sample if number % 2 else object() for number, sample in enumerate(batch)]
    found = anew(batch, lambda _: pieces, Restitcher(samples, folder, 1))
    assert found[::2] == pieces[::2] and all(sample.vid.endswith("*") for sample in found[1::2])
