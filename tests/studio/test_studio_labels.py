"""The store of labels: what is saved is what the pipeline reads."""

import json

import pytest

from read.data.annotations import load_annotations
from read.data.summaries import load_summaries
from read.errors import InputError
from read.files import read_jsonl
from read.studio.labels import Brought, Conflict, Imported, Labels, Window

LENGTHS = {"walk": 30.0, "run": 9.0, "v": None}


@pytest.fixture
def labels(tmp_path):
    store = Labels(tmp_path / "card")
    yield store
    store.close()


def reopened(labels):
    labels.close()
    return Labels(labels.folder)


def add(labels, vid="walk", query="a dog jumps", windows=((2, 4),), duration=30.0, **more):
    return labels.add(vid, query, [Window(*window) for window in windows], duration, **more)


def test_what_is_saved_is_what_the_pipeline_reads(labels):
    first = add(labels, windows=[(6.5, 10), (2.0004, 4)])
    second = add(labels, query="  a heron lands ", windows=[(29, 30.9, 3)])
    assert second.windows == (Window(29.0, 30.0, 3),), "an end within the slack ends with the video"
    assert first.windows == (Window(2.0, 4.0), Window(6.5, 10.0)) and first.side == second.side == "train"
    here, there = load_annotations(labels.annotations, 2.0)
    assert (here.query, here.windows, here.duration, here.split) == ("a dog jumps", ((2, 4), (6.5, 10)), 30, "train")
    assert (there.query, there.clip_ids, there.saliency) == ("a heron lands", (14,), ((3.0,),))
    again = reopened(labels)
    assert again.all() == [first, second] and again.version == 2
    again.close()


def test_a_label_is_changed_deleted_and_put_back_as_it_was(labels):
    line = {"qid": "q", "query": "a b", "vid": "walk", "duration": 30, "relevant_windows": [[2, 6]], "mine": {"x": 1}}
    line |= {"relevant_clip_ids": [1, 2], "saliency_scores": [[2, 3, 4], [1, 1, 1]], "split": "train"}
    labels.annotations.write_text(json.dumps(line) + "\n")
    (label,) = labels.all()
    assert label.windows == (Window(2, 6),)
    label = labels.change("q", label.rev, query="a b c")
    assert read_jsonl(labels.annotations) == [line | {"query": "a b c"}], "all that is not known stays"
    label = labels.change("q", label.rev, windows=[Window(2, 6, 1)])
    (row,) = read_jsonl(labels.annotations)
    assert row["saliency_scores"] == [[1.0] * 3, [1.0] * 3], "a file has as many annotators in every line"
    label = labels.change("q", label.rev, vid="run", lengths={"run": 12.0})
    assert (label.vid, label.windows, labels.all()[0].line["duration"]) == ("run", (Window(2, 6, 1),), 12.0)
    labels.remove("q", label.rev)
    assert labels.all() == []
    assert labels.put_back("q") == label and labels.all() == [label]
    with pytest.raises(InputError, match="is there"):
        labels.put_back("q")


def test_who_undoes_a_change_gets_all_of_the_line_back(labels):
    line = {"qid": 7, "query": "a b", "vid": "walk", "duration": 30, "relevant_windows": [[2, 6]], "split": "train"}
    line |= {"relevant_clip_ids": [1, 2], "saliency_scores": [[2, 3, 4], [1, 1, 1]], "kind": "indoor"}
    labels.annotations.write_text(json.dumps(line) + "\n")
    (old,) = labels.all()
    new = labels.change(7, old.rev, windows=[Window(2, 8)])
    assert labels.change(7, new.rev, windows=old.windows) == old and read_jsonl(labels.annotations) == [line]
    labels.remove(7, old.rev)
    assert add(labels, query="a b", windows=[(2, 6)]) == old and read_jsonl(labels.annotations) == [line]


def test_who_saw_something_else_is_told_what_is_there_now(labels):
    old = add(labels)
    new = labels.change(old.qid, old.rev, query="a cat jumps")
    with pytest.raises(Conflict) as caught:
        labels.change(old.qid, old.rev, query="a fox jumps")
    assert caught.value.label == new
    with pytest.raises(Conflict):
        labels.remove(old.qid, old.rev)
    labels.remove(new.qid, new.rev)
    with pytest.raises(Conflict) as caught:
        labels.change(new.qid, new.rev, query="x")
    assert caught.value.label is None and add(labels, query="another").qid != new.qid


@pytest.mark.parametrize(
    "what, why",
    [
        ({"query": "   "}, "the sentence is empty"),
        ({"query": "\u200b\u202e\ufeff"}, "the sentence is empty"),
        ({"query": "x" * 401}, "401 characters"),
        ({"query": "a\x07b"}, "control character"),
        ({"query": "a\ud800"}, "surrogate"),
        ({"windows": []}, "has no moment"),
        ({"windows": [(4, 2)]}, "4 to 2 s ends before it starts"),
        ({"windows": [(2, 40)]}, "2 to 40 s lies outside the video, which lasts 30 s"),
        ({"windows": [(2000, 4000)]}, "outside the video"),
        ({"windows": [(-1, 2)]}, "outside the video"),
        ({"windows": [(1, 2), (1, 2)]}, "1 to 2 s stands twice"),
        ({"windows": [(1, 3), (2, 4)]}, "1 to 3 s and 2 to 4 s overlap"),
        ({"windows": [(float("nan"), 2)]}, "no number of seconds"),
        ({"windows": [(1, 10**400)]}, "no number of seconds"),
        ({"windows": [("1", 2)]}, "no number of seconds"),
        ({"windows": [(1, 2, 5)]}, "score 5 is none of 0 to 4"),
        ({"windows": [(1, 2, True)]}, "score True"),
        ({"vid": "../walk"}, "no plain file name"),
        ({"duration": 1e9}, "length is 1000000000.0"),
        ({"query": "here"}, "has “here” already"),
    ],
)
def test_a_mistake_is_told_and_nothing_is_saved(labels, what, why):
    add(labels, query="here", windows=[(1, 2)])
    before = labels.annotations.read_bytes(), labels.version
    with pytest.raises(InputError, match=why):
        add(labels, **what)
    assert (labels.annotations.read_bytes(), labels.version) == before


def test_a_start_that_is_nearly_zero_is_zero(labels):
    assert str(add(labels, windows=[(-1e-9, 2)]).windows[0].start) == "0.0"


def test_videos_get_sides_once_and_in_their_shares(labels):
    for number in range(20):
        add(labels, vid=f"v{number}")
    sides = {label.vid: label.side for label in labels.all()}
    assert [list(sides.values()).count(side) for side in ("train", "test")] == [12, 8]
    more = add(labels, vid="v3", query="another")
    assert more.side == sides["v3"]
    tested = next(vid for vid, side in sides.items() if side == "test")
    text = labels.texts(tested)
    labels.set_texts(tested, text.rev, "", "a summary")
    asked = add(labels, vid=tested, query="what was not found", asked=True)
    now = {label.vid: label.side for label in labels.all()}
    assert asked.asked and now == sides | {tested: "train"}, "what corrects an answer takes its whole video along"
    assert load_summaries(labels.summaries)[0].split == "train"


def test_a_file_without_sides_gets_them_with_the_first_change(labels):
    rows = [{"qid": i, "query": "q", "vid": f"v{i}", "relevant_windows": [[0, 1]]} for i in range(5)]
    labels.annotations.write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = [label.side for label in labels.all()]
    assert sorted(told) == ["test"] * 2 + ["train"] * 3
    assert not any("split" in row for row in read_jsonl(labels.annotations)), "to look changes nothing"
    label = labels.all()[0]
    labels.change(0, label.rev, query="other")
    assert [row["split"] for row in read_jsonl(labels.annotations)] == told == [label.side for label in labels.all()]
    more = {"qid": 9, "query": "by hand", "vid": "v0", "relevant_windows": [[0, 1]]}
    labels.annotations.write_text(labels.annotations.read_text() + json.dumps(more) + "\n")
    assert labels.settle()[-1].side == told[0] == read_jsonl(labels.annotations)[-1]["split"]
    rows = read_jsonl(labels.annotations)
    rows = [row | {"split": "train" if row["qid"] == 9 else "test"} for row in rows]
    labels.annotations.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert labels.all()[0].side == "train" == labels.settle()[0].line["split"], "what is trained with is not tested on"
    version = labels.version
    assert labels.settle() == labels.all() and labels.version == version, "there is nothing more to write"


def test_texts_wait_without_a_summary_where_the_pipeline_does_not_look(labels):
    labels.folder.joinpath("card.yaml").write_text("title: t\nlicence: l\nannotations: annotations.jsonl\n")
    card = labels.folder / "card.yaml"
    texts = labels.set_texts("walk", labels.texts("walk").rev, "hello\nthere", "")
    assert not labels.summaries.exists() and "summaries" not in card.read_text()
    with pytest.raises(Conflict):
        labels.set_texts("walk", "stale", "x", "")
    texts = labels.set_texts("walk", texts.rev, texts.transcript, "a greeting")
    (summary,) = load_summaries(labels.summaries)
    assert (summary.transcript, summary.summary, summary.split) == ("hello\nthere", "a greeting", "train")
    assert "summaries: summaries.jsonl" in card.read_text()
    with pytest.raises(InputError, match="control character"):
        labels.set_texts("walk", texts.rev, "a\0", "b")
    texts = labels.set_texts("walk", texts.rev, texts.transcript, "")
    assert (texts.transcript, texts.summary) == ("hello\nthere", "") and "summaries" not in card.read_text()
    assert reopened(labels).texts("walk") == texts


def test_any_version_can_be_had_again(labels):
    add(labels)
    second = add(labels, query="second")
    labels.remove(second.qid, second.rev)
    labels.set_texts("walk", labels.texts("walk").rev, "said", "told")
    states = {}
    for version in (0, 4, 1, 2):
        labels.restore(version)
        states[version] = [label.query for label in labels.all()], labels.texts("walk").summary
    assert states == {0: ([], ""), 4: (["a dog jumps"], "told"), 1: (["a dog jumps"], ""),
                      2: (["a dog jumps", "second"], "")}  # fmt: skip
    assert [version.what for version in labels.history(2)] == ["back to version 2", "back to version 1"]
    with pytest.raises(InputError, match="no version 99"):
        labels.restore(99)


def test_what_is_written_by_hand_becomes_a_version_and_what_is_broken_is_left_alone(labels):
    first = add(labels)
    text = labels.annotations.read_text()
    labels.annotations.write_text(text.replace("dog", "cat"))
    (label,) = labels.all()
    assert label.query == "a cat jumps" and label.rev != first.rev and labels.version == 2
    labels.annotations.write_text(text + "{broken\n")
    for work in (labels.all, lambda: add(labels, query="x")):
        with pytest.raises(InputError, match=r"annotations.jsonl:2: not JSON"):
            work()
    assert labels.annotations.read_text() == text + "{broken\n"
    labels.annotations.write_text(text)
    assert labels.all() == [first]
    labels.close()
    labels.annotations.write_text(text.replace("dog", "fox"))
    again = Labels(labels.folder)
    assert again.history(1)[0].what == "changed outside of this page"
    again.restore(2)
    assert again.all()[0].query == "a cat jumps"
    again.annotations.unlink()
    assert again.all() == []
    again.close()


def test_an_import_is_one_version_or_none(labels):
    add(labels)
    brought = [Imported("walk", "a dog jumps", (Window(2, 4),)), Imported("run", "new", (Window(0, 1, 4),))]
    assert labels.bring(brought, LENGTHS, dry=True) == labels.bring(brought[::-1], LENGTHS) == Brought(1, 1)
    assert labels.version == 2 and [label.query for label in labels.all()] == ["a dog jumps", "new"]
    wrong = [Imported("walk", "a dog jumps", (Window(7, 8),), "line 2"), Imported("v", "", (), "line 3")]
    result = labels.bring([*wrong, Imported("v", "fine", (Window(0, 1),))], LENGTHS, ["line 9: x"])
    assert result.added == 0 and [mistake[:7] for mistake in result.mistakes] == ["line 9:", "line 2:", "line 3:"]
    assert labels.version == 2


def test_one_process_holds_the_labels(labels):
    with pytest.raises(InputError, match="open already, in process"):
        Labels(labels.folder)
    reopened(labels).close()
