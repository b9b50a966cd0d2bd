"""Joined videos: what is asked is where it was, moved along; pieces of them in batches; a long one equals its parts."""

import pytest
import torch

from read.data import Annotation, Sample
from read.data.joined import Joiner, join, lengthened


def sample(number: int, clips: int, query: str, start: float = 2.0, vid: str | None = None) -> Sample:
    """Each clip says its video and its number."""
    label = Annotation(
        number, query, vid or f"v{number}", 2.0 * clips - 0.5, ((start, start + 4),), (1, 2), ((4.0,), (2.0,)),
        judged=((start, start + 2, 1.0),), distractors=((0.0, 1.5),),
    )  # fmt: skip
    video = torch.stack((torch.full((clips,), float(number)), torch.arange(clips, dtype=torch.float32)), dim=1)
    return Sample.labelled(video, torch.full((2, 3), float(number)), label, 2.0, torch.full((4,), float(number)))


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_joined_video_is_its_parts_one_after_the_other(index):
    parts = [sample(0, 6, "a cat"), sample(1, 8, "a dog"), sample(2, 5, "a fox")]
    whole, own = join(parts, index), parts[index]
    shift = sum(len(part.video) for part in parts[:index])
    assert torch.equal(whole.video, torch.cat([part.video for part in parts]))
    assert whole.vid == whole.annotation.vid == "v0+v1+v2" and whole.question.duration == 37.5  # the last ends early
    assert torch.equal(whole.text, own.text) and torch.equal(whole.sentence, own.sentence)
    assert (whole.question.qid, whole.question.query) == (own.question.qid, own.question.query)
    for name in ("foreground", "saliency", "relevant"):
        found, expected = whole.targets[name], own.targets[name]
        assert torch.equal(found[shift : shift + len(expected)], expected), name
        assert found.sum() == expected.sum(), f"{name}: nothing of it is elsewhere"
    assert whole.annotation.windows == ((2.0 + 2 * shift, 6.0 + 2 * shift),)
    assert whole.annotation.distractors == ((2.0 * shift, 1.5 + 2 * shift),)
    assert whole.annotation.judged == ((2.0 + 2 * shift, 4.0 + 2 * shift, 1.0),)


def test_a_video_alone_is_itself():
    own = sample(0, 6, "a cat")
    whole = join([own], 0)
    assert torch.equal(whole.video, own.video) and whole.question == own.question and whole.label == own.label


BATCH = [sample(number, 6 + number, f"the {thing} runs", vid=f"v{number // 2}") for number, thing in
         enumerate(("cat", "cat", "dog", "fox", "owl", "cat", "hen", "dog"))]  # fmt: skip


def joined(share: float = 1.0, longest: int = 9, seed: int = 0, begin: int = 0, batches: int = 1) -> list[list[Sample]]:
    joiner = Joiner(BATCH, longest, share, begin)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return [joiner(BATCH) for _ in range(batches)]


def test_pieces_keep_the_label_to_what_they_show():
    shown = {True: 0, False: 0}
    for seed in range(40):
        (found,) = joined(seed=seed)
        for piece, own in zip(found, BATCH, strict=True):
            assert len(piece.video) == 9 and torch.equal(piece.text, own.text)
            assert torch.equal(piece.sentence, own.sentence)
            moment = (piece.video[:, 0] == own.question.qid) & torch.isin(piece.video[:, 1], torch.tensor([1.0, 2.0]))
            assert torch.equal(piece.targets["foreground"].bool(), moment)
            assert torch.equal(piece.targets["relevant"], moment)
            shown[bool(moment.any())] += 1
    assert min(shown.values()) > 40, "with the moment, and without"


def test_what_is_asked_for_is_not_seen_in_the_other_video():
    asked = {vid: {each.question.query for each in BATCH if each.vid == vid} for vid in ("v0", "v1", "v2", "v3")}
    for seed in range(20):
        for piece, own in zip(*joined(seed=seed), BATCH, strict=True):
            others = set(piece.vid.split("+")) - {own.vid}
            assert all(own.question.query not in asked[other] for other in others)


def test_a_query_that_all_ask_stays_where_it_is():
    batch = [sample(number, 6, "a cat") for number in range(4)]
    assert all(found is own for found, own in zip(Joiner(batch, 9, 1.0)(batch), batch, strict=True))


def test_batches_change_from_the_one_on_that_was_named_and_as_the_seed_has_it():
    untouched, changed, again = joined(begin=1, batches=3)
    assert all(found is own for found, own in zip(untouched, BATCH, strict=True))
    assert [each.vid for each in changed] != [each.vid for each in again]
    for one, other in zip(joined(seed=3), joined(seed=3), strict=True):
        assert all(torch.equal(a.video, b.video) and a.label == b.label for a, b in zip(one, other, strict=True))
    share = sum("+" in each.vid for seed in range(100) for each in joined(0.3, seed=seed)[0]) / (100 * len(BATCH))
    assert 0.25 < share < 0.35


def test_samples_in_videos_of_several():
    found = lengthened(BATCH, 3)
    assert [each.question.qid for each in found] == [f"{own.question.qid}+" for own in BATCH]
    for each, own in zip(found, BATCH, strict=True):
        vids = each.vid.split("+")
        assert own.vid in vids and len(set(vids)) == len(vids) and 2 <= len(vids) <= 3
        assert each.annotation.qid == each.question.qid and each.question.query == own.question.query
        moment = each.video[each.targets["foreground"].bool()]
        assert moment.tolist() == [[own.question.qid, 1], [own.question.qid, 2]], "in its own video, nowhere else"
        others = [other for other in BATCH if other.vid in vids and other.vid != own.vid]
        assert own.question.query not in {other.question.query for other in others}
    again = lengthened(BATCH, 3)
    assert [each.vid for each in again] == [each.vid for each in found] != [x.vid for x in lengthened(BATCH, 3, seed=1)]
    assert lengthened(BATCH[:2], 3) == [], "one video"
