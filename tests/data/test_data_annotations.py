import json
import tracemalloc

import pytest

from read.data import load_annotations
from read.data.annotations import clips_of, derive_saliency
from read.data.lengths import Length
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
    other = GOOD | {"qid": 2, "kind": "order", "distractors": [[0, 1.5], [5, 8]]}
    first = load_annotations(write(tmp_path / "a.jsonl", GOOD, other), clip_len=2.0)
    assert [annotation.distractors for annotation in first] == [(), ((0.0, 1.5), (5.0, 8.0))]
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
        ({"distractors": [[7, 12]]}, "distractor .*outside the video, which lasts 10 s"),
        ({"distractors": [[7, 6]]}, "distractor .*ends before it starts"),
        ({"distractors": [7, 9]}, "distractors is no list of \\[start, end\\]"),
        ({"distractors": [[4, 7]]}, "distractor \\[4, 7\\] overlaps a window of relevant_windows"),
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
    assert "lacks query, vid, relevant_windows" in lines[2]


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


FAULTS = [
    ({"qid": True}, "qid is True, neither a whole number nor a text"),
    ({"qid": 1.0}, "qid is 1.0, neither"),
    ({"qid": [1]}, "qid is \\[1\\], neither"),
    ({"qid": 10**4000}, "neither a whole number nor"),
    ({"qid": ""}, "qid is empty"),
    ({"qid": "a\0"}, "with a NUL character"),
    ({"query": ["a"]}, "query is \\['a'\\], not a text"),
    ({"query": "\ud800"}, "no text: half of a surrogate pair"),
    ({"vid": 5}, "vid 5 is no plain file name"),
    ({"vid": " "}, "no plain file name"),
    ({"vid": "é" * 125}, "250 bytes in UTF-8; a file's name has room for 200"),
    ({"vid": "a\0"}, "a control character"),
    ({"vid": "a\n"}, "a control character"),
    ({"vid": "\udfff"}, "half of a surrogate pair"),
    ({"duration": 2e13}, "longer than a week; is it in seconds"),
    ({"duration": 1e8}, "longer than a week"),
    ({"duration": 10**4000}, "duration is .*, not a number"),
    ({"duration": True}, "duration is True, not a number"),
    ({"relevant_windows": 5}, "relevant_windows is no list of \\[start, end\\]"),
    ({"relevant_windows": None}, "lacks relevant_windows"),
    ({"relevant_windows": [None]}, "no list of \\[start, end\\]"),
    ({"relevant_windows": [[1, None]]}, "is None, not a number"),
    ({"relevant_windows": [[2, 5], [10.0, 10.04]]}, "outside the video, which lasts 10 s"),
    ({"relevant_clip_ids": None, "saliency_scores": [[1]]}, "0 relevant_clip_ids but 1"),
    ({"relevant_clip_ids": [None], "saliency_scores": [[1]]}, "\\[None\\] lie outside 0..4"),
    ({"relevant_clip_ids": [True], "saliency_scores": [[1]]}, "\\[True\\] lie outside"),
    ({"relevant_clip_ids": {"a": 1}, "saliency_scores": [[1]]}, "are no lists"),
    ({"relevant_clip_ids": [1, 1], "saliency_scores": [[1], [2]]}, "relevant_clip_ids: 1 stands twice"),
    ({"relevant_clip_ids": [1], "saliency_scores": [[]]}, "is not a row of annotators' scores"),
    ({"relevant_clip_ids": [1, 2], "saliency_scores": [[1], [1, 2]]}, "as many as in every other"),
    ({"relevant_clip_ids": [1], "saliency_scores": [[1, 2]]}, "saliency_scores of 2 annotators, but on line 1 of 1"),
    ({"kind": 7}, "kind is 7, not a text"),
    ({"split": "tets"}, "split is 'tets', not one of train, val, test"),
    ({"split": ["train"]}, "not one of train, val, test"),
    ({"judged": [[0, 2]]}, "judged: \\[0, 2\\] is not"),
    ({"judged": 4}, "judged is no list"),
]


@pytest.mark.parametrize(("change", "reason"), FAULTS)
def test_fields_of_the_wrong_kind(tmp_path, change, reason):
    path = write(tmp_path / "a.jsonl", GOOD, {**GOOD, "qid": 2, **change})
    with pytest.raises(InputError, match=reason) as caught:
        load_annotations(path, clip_len=2.0)
    assert str(caught.value).startswith(f"{path}:2: ") and len(str(caught.value)) < 400


def test_all_that_is_wrong_with_a_line_is_told(tmp_path):
    path = write(tmp_path / "a.jsonl", {**GOOD, "query": 5, "vid": "", "split": "x", "relevant_windows": [[5, 2]]})
    with pytest.raises(InputError) as caught:
        load_annotations(path, clip_len=2.0)
    for reason in ("qid 1: query is 5", "vid '' is no plain", "split is 'x'", "ends before it starts"):
        assert reason in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_null_in_an_optional_field_is_absence(tmp_path):
    nulls = dict.fromkeys(("kind", "split", "judged", "relevant_clip_ids", "saliency_scores"))
    rows = [GOOD, {**GOOD, "qid": 2, **nulls}]
    one, other = load_annotations(write(tmp_path / "a.jsonl", *rows), clip_len=2.0)
    assert other.row() | {"qid": 1} == one.row()


def test_ids_that_are_one_name_are_one(tmp_path):
    path = write(tmp_path / "a.jsonl", GOOD, {**GOOD, "qid": "1"})
    with pytest.raises(InputError, match=rf"{path}:2: qid 1 stands already on line 1"):
        load_annotations(path, clip_len=2.0)


def test_a_name_that_a_system_took_apart_is_the_composed_one(tmp_path):
    rows = [{**GOOD, "vid": "cafe\u0301"}, {**GOOD, "qid": 2, "vid": "café"}]
    assert {annotation.vid for annotation in load_annotations(write(tmp_path / "a.jsonl", *rows), 2.0)} == {"café"}


def test_without_a_duration_the_file_tells_it(tmp_path):
    bare = {key: value for key, value in GOOD.items() if key != "duration"} | {"relevant_windows": [[2, 5], [7, 10.4]]}
    path = write(tmp_path / "a.jsonl", bare, {**bare, "qid": 2, "vid": "v2", "duration": None})
    assert [a.duration for a in load_annotations(path, 2.0)] == [float("inf")] * 2
    assert "duration" not in load_annotations(path, 2.0)[0].row()
    one, other = load_annotations(path, 2.0, {"v1": Length(10.0, 2.0), "v2": Length(10.125, 2.0)})
    assert (one.duration, one.windows, one.clip_ids) == (10.0, ((2.0, 5.0), (7.0, 10.0)), (1, 2, 3, 4))
    assert (other.duration, other.windows[1]) == (10.125, (7.0, 10.125))


def test_a_long_video_costs_what_its_windows_cost(tmp_path):
    path = write(tmp_path / "a.jsonl", {**GOOD, "duration": 604_800, "relevant_windows": [[604_790, 604_800]]})
    tracemalloc.start()
    (annotation,) = load_annotations(path, clip_len=0.02)  # 30 million clips
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
    assert len(annotation.clip_ids) == 500


@pytest.mark.parametrize(
    ("duration", "windows", "reason"),
    [
        (20_000, [[2000, 5000]], "duration 20000 s, but the file lasts 20 s; are these milliseconds?"),
        (500, [[50, 125]], "are these frames?"),
        (600, [[50, 125]], "are these frames?"),
        (52, [[2, 5]], "duration 52 s, but the file lasts 20 s; is it of the uncut original?"),
        (21.2, [[2, 5]], "is it of another cut, or played at another speed?"),
        (18.8, [[2, 5]], "is it of another cut, or played at another speed?"),
        (0.33, [[0.1, 0.3]], "are these minutes?"),
        (None, [[2, 5], [7000, 9000]], "a window ends at 9000 s, but the file lasts 20 s; are these milliseconds?"),
        (None, [[30, 45]], "is it of the uncut original?"),
        (20.6, [[20.1, 20.6]], r"window \[20.1, 20.6\] begins where no picture is left: the file lasts 20 s"),
        (22.0, [[2, 5]], ""),  # in whole clips
        (20.7, [[2, 20.7]], ""),
        (None, [[2, 20.7]], ""),
    ],
)
def test_labels_have_to_fit_their_video(tmp_path, duration, windows, reason):
    row = {**GOOD, "duration": duration, "relevant_windows": windows}
    path = write(tmp_path / "a.jsonl", row, {**row, "qid": 2}, {**GOOD, "qid": 3, "vid": "unknown"})
    lengths = {"v1": Length(20.0, 2.0)}
    if not reason:
        load_annotations(path, 2.0, lengths)
        return
    with pytest.raises(InputError, match=reason) as caught:
        load_annotations(path, 2.0, lengths)
    assert [line.split(": qid")[0] for line in str(caught.value).splitlines()] == [f"{path}:1", f"{path}:2"]


def test_published_features_may_be_two_clips_off(tmp_path):
    row = {**GOOD, "duration": 150, "relevant_windows": [[148, 150]]}
    path = write(tmp_path / "a.jsonl", row)
    for clips in (73, 74, 75, 76, 77):
        load_annotations(path, 2.0, {"v1": Length(2.0 * clips, 2.0, decoded=False)})
    for clips in (72, 78):
        with pytest.raises(InputError, match="its features last"):
            load_annotations(path, 2.0, {"v1": Length(2.0 * clips, 2.0, decoded=False)})


def test_inputs_that_came_from_elsewhere(shared):
    folder = shared / "faults"
    for name, reason in {
        "annotation-types": ":1: qid 1: duration 2e\\+13 is longer than a week",
        "ids-joined-as-text": ":2: qid 1 stands already on line 1",
        "vid-names": ":1: qid 1: vid ' ' is no plain file name",
        "window-in-slack": ":1: qid 1: window \\[20, 20.04\\] lies outside",
    }.items():
        with pytest.raises(InputError, match=reason):
            load_annotations(folder / name / "annotations.jsonl", 2.0)
    assert load_annotations(folder / "bom" / "annotations.jsonl", 2.0)
