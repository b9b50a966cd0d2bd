"""Benchmarks' own layouts: what the real files hold, and what is dropped, clamped or refused."""

import json
import tarfile
from collections import Counter, defaultdict

import numpy as np
import pytest

from read.data.annotations import load_annotations, parse
from read.data.layouts import load_parts, youtube_of
from read.data.layouts.queries import charades_sta, qvhighlights, tvsum
from read.data.layouts.queries.youtube_highlights import CLAMPED, DULL, OUTSIDE
from read.data.layouts.summaries import how2
from read.errors import InputError
from read.files import read_json, read_jsonl, write_jsonl
from read.plugins import QUERY_LAYOUTS

FILES = {
    "qvhighlights": {
        "train": "qvhighlights/highlight_train_release.jsonl",
        "val": "qvhighlights/highlight_val_release.jsonl",
        "test": "qvhighlights/highlight_test_with_gt.jsonl",
    },
    "tvsum": {"train": "tvsum/tvsum_train_release.jsonl", "val": "tvsum/tvsum_val_release.jsonl"},
    "youtube_highlights": {
        "train": "youtube_highlights/youtube_highlight_train_release.jsonl",
        "val": "youtube_highlights/youtube_highlight_val_release.jsonl",
    },
    "charades_sta": {"train": "charades/charades_train_release.jsonl", "test": "charades/charades_test_release.jsonl"},
}
# side -> queries, videos
COUNTS = {
    "qvhighlights": {"train": (7218, 7100), "val": (1550, 1519), "test": (1542, 1529)},
    "tvsum": {"train": (40, 40), "val": (10, 10)},
    "youtube_highlights": {"train": (233, 233), "val": (152, 152)},
    "charades_sta": {"train": (12404, 5336), "test": (3720, 1334)},
}


def shots(count: int = 6, **changes) -> dict:
    """A row of TVSum; shot 2 is the best."""
    label = [[5, 4] if shot == 2 else [1, 2] for shot in range(count)]
    return {"qid": "v", "query": "t", "vid": "v", "duration": count, "label": label, "domain": "BK"} | changes


def frames(**changes) -> dict:
    """A row of YouTube Highlights: 10 s at 25 frames a second, whose clips 1 and 2 are matched."""
    clips = [[0, 100], [50, 150], [100, 200], [150, 255]]
    row = {"qid": "v", "query": "dog", "vid": "v", "domain": "dog", "fps": 25.0, "duration": 10.0}
    return row | {"clip": clips, "match": [-1, 1, 1, 0]} | changes


def moment(**changes) -> dict:
    return {"qid": 1, "query": "a", "vid": "v", "duration": 30.0, "relevant_windows": [[2.0, 9.5]]} | changes


def load(tmp_path, layout, *sides):
    """`load_parts` of rows, a file for each (side, rows)."""
    parts = []
    for number, (side, rows) in enumerate(sides):
        write_jsonl(tmp_path / f"{number}.jsonl", rows)
        parts.append((tmp_path / f"{number}.jsonl", side))
    return load_parts(parts, layout, 2.0)


@pytest.fixture(scope="module", params=list(FILES))
def real(request):
    """Name, annotations and notes of one benchmark's real files."""
    mirror = request.getfixturevalue("mirror")
    parts = [(mirror / file, side) for side, file in FILES[request.param].items()]
    return request.param, *load_parts(parts, request.param, 2.0)


def test_real_files_in_counts(real):
    name, annotations, notes = real
    videos = defaultdict(set)
    for annotation in annotations:
        videos[annotation.split].add(annotation.vid)
    queries = Counter(annotation.split for annotation in annotations)
    assert {side: (queries[side], len(vids)) for side, vids in videos.items()} == COUNTS[name]
    assert sum(map(len, videos.values())) == len(set.union(*videos.values()))  # no video on two sides
    recordings = [{youtube_of(vid)[0] for vid in vids} for vids in videos.values()]
    assert sum(map(len, recordings)) == len(set.union(*recordings))
    assert len({annotation.qid for annotation in annotations}) == len(annotations)
    assert dict(notes) == ({CLAMPED: 80} if name == "youtube_highlights" else {})


def test_what_is_read_of_real_files_can_be_written_and_read_again(real, tmp_path):
    _, annotations, _ = real
    write_jsonl(tmp_path / "a.jsonl", [annotation.row() for annotation in annotations[:40]])
    assert load_annotations(tmp_path / "a.jsonl", 2.0) == annotations[:40]


def test_tvsum_lasts_two_seconds_a_shot(mirror):
    parts = [(mirror / FILES["tvsum"][side], side) for side in ("train", "val")]
    rows = {row["vid"]: row for path, _ in parts for row in read_jsonl(path)}
    annotations, _ = load_parts(parts, "tvsum", 2.0)
    splits = read_json(mirror / "tvsum" / "umt_splits.json")
    for annotation in annotations:
        label = np.array(rows[annotation.vid]["label"])
        assert annotation.duration == 2 * rows[annotation.vid]["duration"] == 2 * len(label)
        np.testing.assert_array_equal(np.array(annotation.saliency) + 1, label)
        np.testing.assert_array_equal(np.array(annotation.judged)[:, 2:], label)
        assert annotation.vid in splits[annotation.kind][annotation.split]
    assert Counter((a.kind, a.split) for a in annotations) == Counter(
        {(kind, side): len(vids) for kind, sides in splits.items() for side, vids in sides.items()}
    )


def test_youtube_clips_are_the_authors_own(mirror):
    folder = mirror / "youtube_highlights"
    parts = [(mirror / file, side) for side, file in FILES["youtube_highlights"].items()]
    rows = {row["vid"]: row for path, _ in parts for row in read_jsonl(path)}
    annotations, _ = load_parts(parts, "youtube_highlights", 2.0)
    splits = read_json(folder / "umt_splits.json")
    with tarfile.open(folder / "original_labels_no_info.tar.gz") as archive:
        for annotation in annotations:
            path = f"{annotation.kind}/{annotation.vid}/match_label.json"
            clips, matches = json.load(archive.extractfile(path))
            judged = np.array(annotation.judged)
            fps = rows[annotation.vid]["fps"]
            np.testing.assert_array_equal(judged[:, 2], matches)
            np.testing.assert_allclose(judged[:, 0] * fps, np.array(clips)[:, 0], atol=1e-6)
            assert (judged[:, 1] * fps <= np.array(clips)[:, 1] + 1e-6).all()
            assert annotation.vid in splits[annotation.kind][annotation.split]
    lacking = {side: {vid for sides in splits.values() for vid in sides[side]} - set(rows) for side in ("train", "val")}
    assert {side: len(vids) for side, vids in lacking.items()} == {"train": 14, "val": 20}


def test_qvhighlights_keeps_all_windows(mirror):
    annotations, _ = load_parts([(mirror / FILES["qvhighlights"]["train"], "train")], "qvhighlights", 2.0)
    counts = Counter(len(annotation.windows) for annotation in annotations)
    assert max(counts) == 24
    assert sum(count for windows, count in counts.items() if windows > 5) == 261


def test_queries_without_truth_are_counted(mirror, tmp_path):
    test = mirror / "qvhighlights" / "highlight_test_release.jsonl"
    with pytest.raises(InputError, match=f"1542 {qvhighlights.WITHOUT_TRUTH}"):
        load_parts([(test, "test")], "qvhighlights", 2.0)
    blind = {key: value for key, value in moment(qid=2).items() if key != "relevant_windows"}
    annotations, notes = load(tmp_path, "qvhighlights", ("test", [moment(), blind]))
    assert [annotation.qid for annotation in annotations] == [1]
    assert notes == {qvhighlights.WITHOUT_TRUTH: 1}


def test_charades_windows_are_put_right_and_counted(tmp_path):
    rows = [
        moment(qid=1, relevant_windows=[[25.0, 31.4]]),
        moment(qid=2, relevant_windows=[[9.0, 4.0]]),
        moment(qid=3, relevant_windows=[[30.0, 33.0]]),
        moment(qid=4),
    ]
    annotations, notes = load(tmp_path, "charades_sta", ("train", rows))
    assert [annotation.windows for annotation in annotations] == [((25.0, 30.0),), ((4.0, 9.0),), ((2.0, 9.5),)]
    assert notes == {charades_sta.CLAMPED: 2, charades_sta.TURNED: 1, charades_sta.OUTSIDE: 1}


def test_public_charades_windows_end_with_their_videos(mirror):
    rows = [row for file in FILES["charades_sta"].values() for row in read_jsonl(mirror / file)]
    ends = [(window[1], row["duration"]) for row in rows for window in row["relevant_windows"]]
    assert all(end <= duration for end, duration in ends)
    assert sum(end == duration for end, duration in ends) == 2367


def test_tvsum_moments_are_runs_above_the_median(tmp_path):
    (annotation,), _ = load(tmp_path, "tvsum", ("train", [shots()]))
    assert (annotation.duration, annotation.windows, annotation.kind) == (12.0, ((4.0, 6.0),), "BK")
    assert annotation.judged[2] == (4.0, 6.0, 5.0, 4.0)
    assert annotation.saliency[2] == (4.0, 3.0)
    _, notes = load(tmp_path, "tvsum", ("train", [shots(), shots(qid="w", vid="w", label=[[1, 1]] * 6)]))
    assert notes == {tvsum.FLAT: 1}


def test_youtube_moments_are_unions_of_matched_clips(tmp_path):
    (annotation,), notes = load(tmp_path, "youtube_highlights", ("val", [frames()]))
    assert annotation.judged == ((0.0, 4.0, -1.0), (2.0, 6.0, 1.0), (4.0, 8.0, 1.0), (6.0, 10.0, 0.0))
    assert (annotation.windows, annotation.clip_ids) == (((2.0, 8.0),), (1, 2, 3))
    assert notes == {CLAMPED: 1}
    rows = [frames(duration=5.0), frames(qid="w", vid="w", match=[-1, 0, 0, -1])]
    (annotation,), notes = load(tmp_path, "youtube_highlights", ("val", rows))
    assert [clip[:2] for clip in annotation.judged] == [(0.0, 4.0), (2.0, 5.0), (4.0, 5.0)]
    assert notes == {CLAMPED: 3, OUTSIDE: 1, DULL: 1}


@pytest.mark.parametrize(
    ("layout", "row", "reason"),
    [
        ("tvsum", shots(duration=12), "6 shots, but duration, the number of shots, is 12"),
        ("tvsum", shots(label=[[1, 2]] * 5 + [[1]]), r"\[1, 2\] annotators"),
        ("tvsum", shots(label=[[1, 6]] * 6), "scores go from 1 to 5"),
        ("tvsum", shots(label=[]), "is no list of the annotators' scores"),
        ("youtube_highlights", frames(match=[1]), "no lists of equal length"),
        ("youtube_highlights", frames(match=[1, 2, 0, 0]), "match 2 is none of -1, 0, 1"),
        ("youtube_highlights", frames(fps=0), "fps 0 is not positive"),
        ("youtube_highlights", frames(clip=[[0, 100]] * 3 + [5]), r"clip 5 is not \[first, last\] frame"),
        ("charades_sta", moment(relevant_windows=[[1]]), r"is no list of \[start, end\]"),
        ("charades_sta", moment(duration="long"), "duration is 'long', not a number"),
        ("charades_sta", {"qid": 1, "query": "a"}, "lacks vid, duration, relevant_windows"),
        ("qvhighlights", moment(relevant_windows=[[3, 2]]), "ends before it starts"),
        ("qvhighlights", moment(judged=[[0, 2]]), r"judged: \[0, 2\] is not \[start, end, score, ...\]"),
    ],
)
def test_mistakes_are_told_with_their_lines(tmp_path, layout, row, reason):
    good = {"tvsum": shots, "youtube_highlights": frames}.get(layout, moment)(qid="good", vid="good")
    with pytest.raises(InputError, match=rf"0\.jsonl:2: .*{reason}"):
        load(tmp_path, layout, ("train", [good, row]))


def test_a_qid_in_two_files_is_told(tmp_path):
    with pytest.raises(InputError, match=r"1\.jsonl:2: qid 1 stands already in 0\.jsonl:1"):
        load(tmp_path, "charades_sta", ("train", [moment()]), ("test", [moment(qid=2, vid="w"), moment(vid="x")]))


def test_a_video_on_two_sides_trains_nothing(tmp_path):
    train = [moment(qid=1), moment(qid=2), moment(qid=3, vid="w")]
    annotations, notes = load(tmp_path, "charades_sta", ("test", [moment(qid=4)]), ("train", train))
    assert [(annotation.qid, annotation.split) for annotation in annotations] == [(4, "test"), (3, "train")]
    assert list(notes.values()) == [2]


def test_a_layout_takes_rows_that_name_their_own_sides(tmp_path):
    annotations, _ = load(tmp_path, "qvhighlights", ("", [moment(split="val"), moment(qid=2, vid="w")]))
    assert [annotation.split for annotation in annotations] == ["val", ""]


def test_absent_and_empty_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"a\.jsonl: no such annotation file"):
        load_parts([(tmp_path / "a.jsonl", "train")], "tvsum", 2.0)
    with pytest.raises(InputError, match="holds no annotation that can be used"):
        load(tmp_path, "tvsum", ("train", []))


def test_ids_of_youtube():
    assert youtube_of("NUsG9BgSes0_210.0_360.0") == ("NUsG9BgSes0", 210.0, 360.0)
    assert youtube_of("_6hnl_BrFvs_60.0_210.0") == ("_6hnl_BrFvs", 60.0, 210.0)
    assert youtube_of("-esJrBWj2d8") == ("-esJrBWj2d8", None, None)
    assert youtube_of("AO8RW") == ("AO8RW", None, None)


def test_judged_clips_have_to_lie_in_their_video():
    with pytest.raises(InputError, match="lies outside the video"):
        parse(moment(judged=[[29, 31, 1]]), 2.0)
    assert parse(moment(judged=[[28, 30.01, 1, 2]]), 2.0).judged == ((28.0, 30.0, 1.0, 2.0),)
    assert set(QUERY_LAYOUTS.names()) == set(FILES)


def test_how2_has_a_folder_for_each_side(tmp_path):
    for side, vids in {"sum_train": "ab", "sum_devtest": "c"}.items():
        (tmp_path / side).mkdir()
        (tmp_path / side / "tran.tok.txt").write_text("".join(f"{vid} said in {vid}\n" for vid in vids))
        (tmp_path / side / "desc.tok.txt").write_text("".join(f"{vid} about {vid}\n" for vid in vids))
    parts = [(tmp_path / "sum_train", "train"), (tmp_path / "sum_devtest", "test")]
    summaries = how2.load(parts)
    assert [(summary.vid, summary.split) for summary in summaries] == [("a", "train"), ("b", "train"), ("c", "test")]
    assert summaries[0].transcript == "said in a"
    with pytest.raises(InputError, match="video a is on side train already"):
        how2.load([*parts, parts[0]])
