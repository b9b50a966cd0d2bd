import json
from collections import Counter
from dataclasses import dataclass, replace
from math import ceil, floor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from read.data import Annotation, Split, SplitSettings, Summary, make_split
from read.data.leaks import youtube_id
from read.data.strata import deal, interleave, videos_of
from read.errors import InputError

SHARES = {"val_share": 0.25, "test_share": 0.4}


def draw(labels, shots, seed, **settings):
    return make_split(labels, shots, seed, SplitSettings(**SHARES | settings))


@dataclass(frozen=True)
class Label:
    vid: str
    split: str = ""
    kind: str = ""
    windows: tuple = ()


def annotations(count, sides=None):
    rows = []
    for index in range(count):
        side = sides[index] if sides else ""
        rows += [Annotation(f"{index}-{q}", "q", f"v{index}", 10.0, ((0, 2),), (0,), ((4,),), "", side) for q in (0, 1)]
    return rows


def named(sizes):
    return list(zip("abcdefghij", sizes, strict=False))


def domains(sizes, side="train", test=2):
    """Labels of domains a, b, ... with some videos on a side and some on the side `val`."""
    own = [Label(f"{name}{at}", side, name, ((0, 1),) * (at % 5)) for name, n in named(sizes) for at in range(n)]
    return own + [Label(f"{name}-test{at}", "val", name) for name, _ in named(sizes) for at in range(test)]


sizes_of_domains = st.lists(st.integers(1, 12), min_size=1, max_size=8).filter(lambda sizes: sum(sizes) >= 2)


def within_share(found, k, size, total):
    return floor(k * size / total) <= found <= ceil(k * size / total)


@given(st.integers(0, 99), st.integers(1, 10), st.integers(1, 10))
def test_splits_are_nested_disjoint_and_share_one_test_side(seed, first, second):
    small, large = sorted((first, second))
    data = annotations(30)
    one, other = (draw(data, k, seed) for k in (small, large))
    assert set(one.train) <= set(other.train)
    assert set(one.val) <= set(other.val)
    assert len(one.train) == small
    assert one.test == other.test == draw(data, small, seed + 1).test
    assert not set(other.train) & set(other.val) | set(other.train) & set(other.test) | set(other.val) & set(other.test)


@given(sizes_of_domains, st.integers(1, 6), st.integers(0, 9))
def test_every_hand_of_a_deal_has_its_share(sizes, hands, seed):
    videos = videos_of(domains(sizes, test=0))
    dealt = deal(videos, videos, hands, seed)
    assert sorted(vid for hand in dealt for vid in hand) == sorted(videos) and len(dealt) == hands
    for stratum in (lambda video: "", lambda video: video.domain, lambda video: (video.domain, video.bucket)):
        whole = Counter(stratum(video) for video in videos.values())
        for hand in dealt:
            own = Counter(stratum(videos[vid]) for vid in hand)
            assert all(within_share(own[key], 1, count, hands) for key, count in whole.items())


@settings(deadline=None, max_examples=40)
@given(sizes_of_domains, st.integers(1, 5), st.sampled_from(["dataset", "domain"]), st.booleans(), st.data())
def test_seeds_share_no_labelled_video_where_the_pool_allows_it(sizes, largest, shots_per, val_side, data):
    """As many seeds as fit; and each keeps its videos whatever k, nested, and spread over the domains."""
    labels = domains(sizes) + (domains([30] * len(sizes), side="val", test=0) if val_side else [])
    labels += [Label("t", "test", "a")] * val_side
    labels = [replace(label, vid=f"{label.split}-{label.vid}") for label in labels]
    how = {"largest": largest, "shots_per": shots_per}
    needed = largest + (0 if val_side else max(1, round(0.25 * largest)))
    fit = [size // needed for size in (sizes if shots_per == "domain" else [sum(sizes)])]
    if not min(fit):
        return
    small = data.draw(st.integers(1, largest))
    splits = [draw(labels, largest, seed, **how) for seed in range(min(4, *fit))]
    drawn = [{*split.train, *split.val} for split in splits]
    assert sum(map(len, drawn)) == len(set().union(*drawn))
    assert all("hands" in split.rule for split in splits) == (min(fit) > 1)
    videos = videos_of(labels)
    for seed, split in enumerate(splits):
        less = draw(labels, small, seed, **how)
        assert set(less.train) <= set(split.train) and set(less.val) <= set(split.val)
        found = Counter(videos[vid].domain for vid in less.train)
        if shots_per == "dataset":  # a share of a share, up or down each time
            assert all(abs(found[name] - small * size / sum(sizes)) < 2 for name, size in named(sizes))
    assert len(draw(labels, largest, min(fit), **how).train) == len(splits[0].train)  # the next deal


def test_a_recording_in_the_way_is_passed_over_for_another_hand():
    """A hand may be two cuts of one recording; what validates has to come from elsewhere then."""
    labels = [Label(f"{number:011d}_{at}_{at + 1}", "train") for number in range(2) for at in range(2)]
    for seed in range(10):
        split = draw([*labels, Label("test", "test")], 1, seed, largest=1)
        assert len({youtube_id(vid) for vid in (*split.train, *split.val)}) == 2


def test_the_test_side_of_the_annotations_is_left_untouched():
    sides = ["test" if index % 3 == 0 else "train" for index in range(30)]
    split = draw(annotations(30, sides), 8, 0)
    assert split.test == tuple(sorted(f"v{index}" for index in range(0, 30, 3)))
    assert len(split.val) == 2
    assert "as the annotations say" in split.rule
    assert "nothing of the test side is looked at" in split.rule


def test_seeds_differ_and_repeat():
    data = annotations(30)
    assert draw(data, 8, 0) == draw(data, 8, 0)
    assert draw(data, 8, 0).train != draw(data, 8, 1).train


def test_more_shots_than_videos_names_what_is_possible():
    with pytest.raises(InputError, match="train side holds 6 videos; ask for at most 5 shots"):
        draw(annotations(10), 8, 0)
    draw(annotations(10), 5, 0)
    draw(annotations(10), 6, 0, protocol="paper")
    with pytest.raises(InputError, match="train side holds 2 videos of b; ask for at most 1 shots"):
        draw(domains([9, 2]), 2, 0, shots_per="domain")
    with pytest.raises(InputError, match="shots is 0"):
        draw(annotations(10), 0, 0)


def test_no_video_stands_on_two_sides():
    torn = annotations(4, ["train"] * 4)
    torn[0] = Annotation("x", "q", "v3", 10.0, ((0, 2),), (0,), ((4,),), "", "test")
    with pytest.raises(InputError, match="video v3 is on two sides"):
        draw(torn, 1, 0)
    with pytest.raises(InputError, match="stands on two sides, train and test"):
        Split("by hand", 0, 1, ("a",), ("b",), ("a",))
    with pytest.raises(InputError, match="stands on two sides, train and test"):
        Split("by hand", 0, 1, ("a",), ("a",), ("a",), protocol="paper")
    with pytest.raises(InputError, match="stands on two sides, val and source"):
        Split("by hand", 0, 1, ("a",), ("b",), ("c",), protocol="transfer", source=("b",))


def test_sides_that_make_no_sense():
    with pytest.raises(InputError, match="video v0: split is 'valid', not one of train, val, test"):
        draw([Label("v0", "valid")], 1, 0)
    with pytest.raises(InputError, match="name the side train, but no test and no val"):
        draw(annotations(4, ["train"] * 4), 1, 0)


@given(st.integers(0, 99), st.integers(1, 10), st.integers(1, 10), st.booleans())
def test_summaries_are_split_like_annotations(seed, first, second, sided):
    small, large = sorted((first, second))
    sides = [("test" if index % 3 == 0 else "train") if sided else "" for index in range(30)]
    data = [Summary(f"v{index}", "said", "told", side) for index, side in enumerate(sides)]
    one, other = (draw(data, k, seed) for k in (small, large))
    assert other == replace(draw(annotations(30, sides), large, seed), strata=other.strata)
    assert set(one.train) <= set(other.train)
    for split in (one, other):
        used = [*split.train, *split.val, *split.test]
        assert len(used) == len(set(used))


@given(st.lists(st.integers(0, 30), min_size=1, max_size=12))
def test_every_beginning_holds_of_each_line_its_share(sizes):
    lines = [[(number, at) for at in range(size)] for number, size in enumerate(sizes)]
    merged = interleave(lines)
    assert sorted(merged) == sorted(item for line in lines for item in line)
    for k in range(len(merged) + 1):
        for number, line in enumerate(lines):
            beginning = [item for item in merged[:k] if item[0] == number]
            assert beginning == line[: len(beginning)]
            if line:
                assert within_share(len(beginning), k, len(line), len(merged))


@given(sizes_of_domains, st.integers(0, 99), st.data())
def test_shots_and_validation_spread_over_domains_and_windows(sizes, seed, data):
    labels, total = domains(sizes), sum(sizes)
    k = data.draw(st.integers(1, max(k for k in range(1, total) if k + max(1, round(0.25 * k)) <= total)))
    split, videos = draw(labels, k, seed), videos_of(labels)
    for vids in (split.train, split.val):
        found = Counter(videos[vid].domain for vid in vids)
        for name, size in named(sizes):
            assert within_share(found[name], len(vids), size, total)
    for name, size in named(sizes):
        held_out = f"{name}{sorted(range(size), key=str)[seed % size]}"
        pool = Counter(videos[f"{name}{at}"].bucket for at in range(size) if f"{name}{at}" != held_out)
        own = Counter(videos[vid].bucket for vid in split.train if vid[0] == name and vid != held_out)
        for bucket, count in pool.items():
            assert within_share(own[bucket], own.total(), count, pool.total())


@given(sizes_of_domains, st.integers(0, 99), st.sampled_from(["honest", "paper"]), st.data())
def test_neither_the_order_of_the_labels_nor_the_test_side_matters(sizes, seed, protocol, data):
    labels = domains(sizes)
    split = draw(labels, 1, seed, protocol=protocol)
    assert draw(data.draw(st.permutations(labels)), 1, seed, protocol=protocol) == split
    other = [label for label in labels if label.split == "train"] + [Label("elsewhere", "val", "z", ((0, 1),) * 9)]
    assert draw(other, 1, seed, protocol=protocol).train == split.train


@given(st.integers(1, 3), st.integers(1, 3), st.integers(0, 99))
def test_shots_of_each_domain(first, second, seed):
    small, large = sorted((first, second))
    one, other = (draw(domains([4, 9, 5]), k, seed, shots_per="domain") for k in (small, large))
    assert Counter(vid[0] for vid in other.train) == dict.fromkeys("abc", large)
    assert Counter(vid[0] for vid in other.val) == dict.fromkeys("abc", 1)
    assert set(one.train) <= set(other.train)
    assert "of each domain" in one.rule


def test_four_videos_a_domain_are_cross_validated_by_leaving_one_out():
    splits = [draw(domains([4] * 10, test=1), 3, seed, shots_per="domain") for seed in range(4)]
    for split in splits:
        assert len(split.train) == 30
        assert Counter(vid[0] for vid in split.val) == dict.fromkeys("abcdefghij", 1)
        assert all(vid.endswith("test0") for vid in split.test)
    assert len({vid for split in splits for vid in split.val}) == 40
    assert draw(domains([4] * 10, test=1), 3, 5, shots_per="domain").val == splits[1].val


def test_the_reported_side_is_val_only_where_there_is_no_test():
    labels = [Label(f"{side}{at}", side) for side in ("train", "val") for at in range(9)]
    split = draw(labels, 4, 0)
    assert set(split.test) == {f"val{at}" for at in range(9)}
    assert {vid[:5] for vid in (*split.train, *split.val)} == {"train"}
    assert "which call it val" in split.rule
    both = [*labels, Label("test0", "test")]
    split = draw(both, 9, 0)
    assert split.test == ("test0",) and len(split.train) == 9
    assert len(split.val) == 2 and set(split.val) < {f"val{at}" for at in range(9)}
    assert len(draw(both, 9, 0, val_share=5.0).val) == 9  # all there are
    assert draw(both, 9, 0, protocol="paper").val == ("test0",)


def test_the_paper_selects_on_what_it_reports_and_says_so():
    split = draw(domains([9, 9]), 6, 0, protocol="paper")
    assert split.val == split.test and len(split.train) == 6
    assert "optimistic" in split.rule
    row = json.loads(json.dumps(split.row()))
    assert row["optimistic"] is True and row["protocol"] == "paper"
    assert set(split.sides) == {"train", "test", "source"}
    assert draw(domains([9, 9]), 6, 0).row()["optimistic"] is False


@given(st.integers(0, 99), st.integers(1, 6), st.booleans())
def test_transfer_adapts_inside_one_domain_and_pretrains_on_the_others(seed, k, sided):
    labels = domains([9, 20, 12], test=4)
    labels += [Label("both", "train", "a"), Label("both", "train", "b")]
    labels += [Label("others", "train", "a"), Label("others", "train", "c")]
    if not sided:
        labels = [replace(label, split="") for label in labels]
    split = draw(labels, k, seed, protocol="transfer", target="b")
    videos = videos_of(labels)
    assert all("b" in videos[vid].kinds for vid in (*split.train, *split.val, *split.test))
    assert all("b" not in videos[vid].kinds for vid in split.source)
    assert len(split.train) == k
    if sided:
        others = {vid for vid, video in videos.items() if video.side == "train" and "b" not in video.kinds}
        assert set(split.source) == others
    honest = draw(labels, k, seed)
    assert not set(split.source) & set(honest.test)
    assert set(split.test) == {vid for vid in honest.test if "b" in videos[vid].kinds}


def test_transfer_needs_a_domain_that_exists():
    with pytest.raises(InputError, match="no video of kind 'z' is on the train side; kinds are a, b"):
        draw(domains([3, 3]), 1, 0, protocol="transfer", target="z")
    with pytest.raises(InputError, match="transfer needs the kind to adapt to"):
        draw(domains([3, 3]), 1, 0, protocol="transfer")
    with pytest.raises(InputError, match="transfer needs the kind to adapt to, no other does"):
        draw(domains([3, 3]), 1, 0, target="a")
    with pytest.raises(InputError, match="protocol 'fair' is none of honest, paper, transfer"):
        draw(domains([3, 3]), 1, 0, protocol="fair")


@given(st.lists(st.integers(1, 5), min_size=4, max_size=12), st.integers(0, 99))
def test_what_is_drawn_keeps_recordings_together(cuts, seed):
    labels = [
        Label(f"{number:011d}_{60 * at:.1f}_{60 * at + 60:.1f}") for number, n in enumerate(cuts) for at in range(n)
    ]
    split = draw(labels, 1, seed, test_share=0.2, test_seed=seed)
    sides = [{youtube_id(vid) for vid in side} for side in (split.train, split.val, split.test)]
    assert len(set.union(*sides)) == sum(map(len, sides))


def test_too_few_recordings_to_validate_on():
    labels = [Label(f"{0:011d}_{at}_{at + 1}", "train") for at in range(9)] + [Label("test", "test")]
    with pytest.raises(InputError, match="1 videos for validation were asked for, but only 0 are of recordings"):
        draw(labels, 2, 0)


def test_strata_are_counted():
    split = draw(domains([5, 5], test=2), 4, 0)
    assert sum(count["train"] for count in split.strata.values() if "train" in count) == 4
    assert split.strata["a, no windows"]["test"] == 2


def real_labels(path, side):
    rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    return [Label(row["vid"], side, row.get("domain", ""), tuple(row.get("relevant_windows") or ())) for row in rows]


@pytest.mark.parametrize(
    ("train", "reported", "side", "videos"),
    [
        ("qvhighlights/highlight_train", "qvhighlights/highlight_val", "val", (7100, 1519)),
        ("charades/charades_train", "charades/charades_test", "test", (5336, 1334)),
        ("youtube_highlights/youtube_highlight_train", "youtube_highlights/youtube_highlight_val", "val", (233, 152)),
        ("tvsum/tvsum_train", "tvsum/tvsum_val", "val", (40, 10)),
    ],
)
def test_public_benchmarks(mirror, train, reported, side, videos):
    labels = real_labels(mirror / f"{train}_release.jsonl", "train")
    labels += real_labels(mirror / f"{reported}_release.jsonl", side)
    known = videos_of(labels)
    assert Counter(video.side for video in known.values()) == {"train": videos[0], side: videos[1]}
    every = len({video.domain for video in known.values()})
    split = draw(labels, 30, 1)
    assert len(split.test) == videos[1]
    assert len({known[vid].domain for vid in split.train}) == every
    assert len({known[vid].bucket for vid in split.train}) >= len({known[vid].bucket for vid in known}) - 1
    each = draw(labels, 3, 1, shots_per="domain")
    assert (len(each.train), len(each.val)) == (3 * every, every)
    assert {known[vid].side for vid in (*each.train, *each.val)} == {"train"}


@pytest.mark.parametrize("protocol", ["honest", "paper"])
def test_one_labelled_video_is_too_few(protocol):
    labels = [Annotation(n, "q", "only", 9.0, ((1, 2),), (0,), ((4,),)) for n in range(3)]
    with pytest.raises(
        InputError, match=r"no video is left to train on: of 1 labelled videos.*, 1 are on the other side"
    ):
        draw(labels, 1, 0, protocol=protocol)


def test_cuts_of_one_recording_are_too_few():
    labels = [Annotation(n, "q", f"{'x' * 11}_{n}_{n + 1}", 9.0, ((1, 2),), (0,), ((4,),)) for n in range(5)]
    with pytest.raises(InputError, match=r"cuts of one recording stay together"):
        draw(labels, 1, 0)


def test_a_side_on_which_no_video_is():
    labels = [Annotation(n, "q", f"v{n}", 9.0, ((1, 2),), (0,), ((4,),), "", "test") for n in range(5)]
    with pytest.raises(InputError, match="no video is left to train on: of 5 labelled"):
        draw(labels, 1, 0)
