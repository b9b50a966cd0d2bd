import pytest
from hypothesis import given
from hypothesis import strategies as st

from read.data import Annotation, Split, Summary, make_split
from read.errors import InputError


def annotations(count, sides=None):
    rows = []
    for index in range(count):
        side = sides[index] if sides else ""
        rows += [Annotation(f"{index}-{q}", "q", f"v{index}", 10.0, ((0, 2),), (0,), ((4,),), "", side) for q in (0, 1)]
    return rows


@given(st.integers(0, 99), st.integers(1, 10), st.integers(1, 10))
def test_splits_are_nested_disjoint_and_share_one_test_side(seed, first, second):
    small, large = sorted((first, second))
    data = annotations(30)
    one, other = (make_split(data, k, seed, 0.25, 0.4) for k in (small, large))
    assert set(one.train) <= set(other.train)
    assert len(one.train) == small
    assert one.test == other.test == make_split(data, small, seed + 1, 0.25, 0.4).test
    assert not set(other.train) & set(other.val) | set(other.train) & set(other.test) | set(other.val) & set(other.test)


def test_the_test_side_of_the_annotations_is_left_untouched():
    sides = ["test" if index % 3 == 0 else "train" for index in range(30)]
    split = make_split(annotations(30, sides), 8, 0, 0.25, 0.4)
    assert split.test == tuple(sorted(f"v{index}" for index in range(0, 30, 3)))
    assert len(split.val) == 2
    assert "as the annotations say" in split.rule


def test_seeds_differ_and_repeat():
    data = annotations(30)
    assert make_split(data, 8, 0, 0.25, 0.4) == make_split(data, 8, 0, 0.25, 0.4)
    assert make_split(data, 8, 0, 0.25, 0.4).train != make_split(data, 8, 1, 0.25, 0.4).train


def test_more_shots_than_videos_names_what_is_possible():
    with pytest.raises(InputError, match="train side holds 6 videos; ask for at most 5 shots"):
        make_split(annotations(10), 8, 0, 0.25, 0.4)
    make_split(annotations(10), 5, 0, 0.25, 0.4)


def test_no_video_stands_on_two_sides():
    torn = annotations(4, ["train"] * 4)
    torn[0] = Annotation("x", "q", "v3", 10.0, ((0, 2),), (0,), ((4,),), "", "test")
    with pytest.raises(InputError, match="video v3 is on two sides"):
        make_split(torn, 1, 0, 0.25, 0.4)
    with pytest.raises(InputError, match="stands on two sides, train and test"):
        Split("by hand", 0, 1, ("a",), ("b",), ("a",))


@given(st.integers(0, 99), st.integers(1, 10), st.integers(1, 10), st.booleans())
def test_summaries_are_split_like_annotations(seed, first, second, sided):
    small, large = sorted((first, second))
    sides = [("test" if index % 3 == 0 else "train") if sided else "" for index in range(30)]
    data = [Summary(f"v{index}", "said", "told", side) for index, side in enumerate(sides)]
    one, other = (make_split(data, k, seed, 0.25, 0.4) for k in (small, large))
    assert other == make_split(annotations(30, sides), large, seed, 0.25, 0.4)
    assert set(one.train) <= set(other.train)
    for split in (one, other):
        used = [*split.train, *split.val, *split.test]
        assert len(used) == len(set(used))
