import json

import pytest

from read.data import load_annotations
from read.data.annotations import clips_of, derive_saliency
from read.errors import InputError

GOOD = {"qid": 1, "query": "a cat", "vid": "v1", "duration": 10.0, "relevant_windows": [[2, 5]]}


def write(path, *rows):
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_own_data_without_saliency_derives_clips_from_windows(tmp_path):
    (annotation,) = load_annotations(write(tmp_path / "a.jsonl", GOOD), clip_len=2.0)
    assert annotation.windows == ((2.0, 5.0),)
    assert annotation.clip_ids == (1, 2)
    assert annotation.saliency == ((4.0,), (2.0,))


def test_rows_survive_a_round_trip(tmp_path):
    first = load_annotations(write(tmp_path / "a.jsonl", GOOD), clip_len=2.0)
    assert load_annotations(write(tmp_path / "b.jsonl", *(a.row() for a in first)), clip_len=2.0) == first


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"relevant_windows": [[2, 12]]}, "outside the video, which lasts 10 s"),
        ({"relevant_windows": [[-1, 2]]}, "outside the video"),
        ({"relevant_windows": [[5, 2]]}, "ends before it starts"),
        ({"relevant_windows": [[5, 5]]}, "ends before it starts"),
        ({"relevant_windows": [[5]]}, "not \\[start, end\\]"),
        ({"relevant_windows": []}, "relevant_windows is empty"),
        ({"relevant_windows": [["a", 5]]}, "not a number"),
        ({"duration": float("nan")}, "not a number"),
        ({"duration": 0}, "not positive"),
        ({"query": "  "}, "query is empty"),
        ({"vid": "../x"}, "no plain file name"),
        ({"relevant_clip_ids": [9], "saliency_scores": [[1]]}, "lie outside 0..4"),
        ({"relevant_clip_ids": [1], "saliency_scores": []}, "1 relevant_clip_ids but 0 saliency_scores"),
        ({"relevant_clip_ids": [1], "saliency_scores": [[9]]}, "from 0 to 4"),
    ],
)
def test_a_bad_row_is_named_with_its_line_and_reason(tmp_path, change, reason):
    path = write(tmp_path / "a.jsonl", GOOD, {**GOOD, "qid": 2, **change})
    with pytest.raises(InputError, match=reason) as caught:
        load_annotations(path, clip_len=2.0)
    assert f"{path}:2: " in str(caught.value)


def test_all_mistakes_are_reported_at_once(tmp_path):
    path = write(tmp_path / "a.jsonl", GOOD, GOOD, "{oops", {"qid": 3})
    with pytest.raises(InputError) as caught:
        load_annotations(path, clip_len=2.0)
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert "qid 1 stands already on line 1" in lines[0]
    assert "lacks query, vid, duration, relevant_windows" in lines[2]


def test_an_absent_or_empty_file_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no such annotation file"):
        load_annotations(tmp_path / "none.jsonl", 2.0)
    with pytest.raises(InputError, match="holds no annotation"):
        load_annotations(write(tmp_path / "e.jsonl", ""), 2.0)


def test_every_window_has_a_clip_however_short():
    clip_ids, scores = derive_saliency([(3.1, 3.2)], 10.0, 2.0)
    assert clip_ids == (1,)
    assert scores == ((1.0,),)


@pytest.mark.parametrize(("duration", "clips"), [(1.6, 1), (2.0, 1), (150, 75), (30.74, 16), (8.1, 5)])
def test_a_trailing_part_counts_as_a_clip(duration, clips):
    assert clips_of(duration, 2.0) == clips


def test_real_annotations_load(mirror, footage):
    assert len(load_annotations(footage / "annotations.jsonl", 2.0)) == 26
    val = load_annotations(mirror / "qvhighlights" / "highlight_val_release.jsonl", 2.0)
    assert len(val) == 1550
    assert all(len(a.clip_ids) == len(a.saliency) for a in val)
