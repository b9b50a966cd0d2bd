"""The card of a folder: the one that names it, or a new one that the pipeline takes."""

import json

import pytest

from pipeline.annotations import fetch_annotations
from pipeline.card import load_card
from pipeline.params import DownloadSettings
from read.data.annotations import load_annotations
from read.data.summaries import load_summaries
from read.errors import InputError
from read.studio import serve
from read.studio.card import find_or_make_card, name_for, note_in_card
from read.studio.labels import Labels, Window


@pytest.fixture
def checkout(tmp_path):
    for name in ("Snakefile", "params.yaml"):
        (tmp_path / "checkout").mkdir(exist_ok=True)
        (tmp_path / "checkout" / name).touch()
    return tmp_path / "checkout"


def videos(tmp_path, name="My clips"):
    folder = tmp_path / name
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("name", ["My clips", 'a "b": {c} #d', "- é\n", "видео", "x-synthetic", "n" * 200])
def test_a_new_card_is_one_that_the_pipeline_takes(tmp_path, checkout, name):
    folder = videos(tmp_path, name)
    place = find_or_make_card(checkout, folder)
    card = load_card(place.name, checkout / "data/catalog")
    assert card.title == name and card.path(card.videos.folder) == folder.resolve()
    assert card.path(card.annotations) == place.annotations == place.folder / "annotations.jsonl"
    assert place.name == name_for(name) and not place.name.endswith("-synthetic") and len(place.name) <= 60
    assert find_or_make_card(checkout, folder) == place, "the card that is there is used"
    assert list(folder.iterdir()) == []


def test_the_name_of_another_folder_is_not_taken_twice(tmp_path, checkout):
    first, second = videos(tmp_path / "a", "clips"), videos(tmp_path / "b", "Clips")
    assert [find_or_make_card(checkout, folder).name for folder in (first, second, first)] == [
        "clips", "clips-2", "clips",
    ]  # fmt: skip


def write_card(checkout, text, name="own"):
    path = checkout / "data/catalog" / name / "card.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def test_a_folder_that_is_none_is_told_and_cards_of_others_are_not_minded(tmp_path, checkout):
    (tmp_path / "round").symlink_to(tmp_path / "round")
    (tmp_path / "file").touch()
    for given, why in (
        (tmp_path / "round", "no such folder"),
        (tmp_path / "file", "is a file"),
        ("", "FOLDER is empty"),
    ):
        with pytest.raises(InputError, match=why):
            serve(given, port=0, working=checkout)
    for name, folder in (("aaa", tmp_path / "round"), ("bbb", "~nobody-of-this-name/videos"), ("ccc", "a\0b")):
        write_card(checkout, f"videos: {{source: local, folder: {json.dumps(str(folder))}}}\n", name)
    assert find_or_make_card(checkout, videos(tmp_path)).name == "my-clips"


def test_a_card_with_the_folder_is_used_with_the_files_that_it_names(tmp_path, checkout):
    folder = videos(tmp_path)
    (tmp_path / "link").symlink_to(folder)
    write_card(checkout, ": [broken", "aaa")
    text = f"""\
title: Own
licence: mine
annotations: labels/mine.jsonl
clip_len: 1.0
videos: {{source: local, folder: "{tmp_path}/link", extensions: [.mp4]}}  # here
"""
    write_card(checkout, text)
    place = find_or_make_card(checkout, folder)
    assert (place.name, place.extensions, place.clip_len) == ("own", (".mp4",), 1.0)
    assert place.annotations == checkout / "data/catalog/own/labels/mine.jsonl"


@pytest.mark.parametrize(
    "line, why",
    [
        ("annotations: {url: 'https://x.org/a', sha256: " + "0" * 64 + "}", "annotations is no single file"),
        ("subtitles: subs", "queries come from subtitles"),
        ("summaries: summaries.jsonl", "there is no line `annotations`"),
        ("annotations: a.jsonl\nsummaries: ./x/../a.jsonl", "summaries is a.jsonl, which is kept for annotations"),
        ("annotations: history.jsonl", "annotations is history.jsonl, which is kept for the history"),
        ("annotations: summaries.jsonl", "which is kept for annotations"),
        ("annotations: a.jsonl\nclip_len: abc", "clip_len is 'abc', not a number"),
        ("annotations: a.jsonl\nclip_len: -1", "clip_len is -1; it has to be a number of seconds above 0"),
    ],
)
def test_labels_that_are_not_one_file_of_their_own_are_not_edited(tmp_path, checkout, line, why):
    write_card(checkout, f"title: t\nlicence: l\n{line}\nvideos: {{source: local, folder: '{videos(tmp_path)}'}}\n")
    with pytest.raises(InputError, match=why):
        find_or_make_card(checkout, tmp_path / "My clips")


def test_what_is_no_folder_or_no_checkout_is_told(tmp_path, checkout):
    with pytest.raises(InputError, match="no such folder"):
        find_or_make_card(checkout, tmp_path / "none")
    with pytest.raises(InputError, match="is a file"):
        find_or_make_card(checkout, checkout / "Snakefile")
    with pytest.raises(InputError, match="has no Snakefile"):
        find_or_make_card(tmp_path, videos(tmp_path))


def test_a_card_names_summaries_while_there_are_any_and_keeps_its_comments(tmp_path, checkout):
    text = f"""\
title: "Own"   # of mine
licence: mine

annotations: annotations.jsonl  # by hand
videos:
  source: local
  folder: {videos(tmp_path)}   # there
"""
    path = write_card(checkout, text)
    note_in_card(path.parent, path.parent / "summaries.jsonl", 2.0)
    card = load_card("own", checkout / "data/catalog")
    assert (card.summaries, card.clip_len) == ("summaries.jsonl", 2.0)
    assert path.read_text() == text + "summaries: summaries.jsonl\nclip_len: 2.0\n"
    note_in_card(path.parent, None, None)
    assert path.read_text() == text + "clip_len: 2.0\n", "scores stay bound to their clips"


def test_the_pipeline_takes_what_the_page_writes(tmp_path, checkout):
    place = find_or_make_card(checkout, videos(tmp_path))
    labels = Labels(place.folder, place.annotations, place.summaries, 2.0)
    labels.add("walk", "a dog jumps", [Window(1, 3.5, 4), Window(7, 9)], 30.0)
    labels.add("run", "a cat sleeps", [Window(0, 9)], 9.0, asked=True)
    labels.set_texts("walk", labels.texts("walk").rev, "look", "a dog in a garden")
    labels.set_texts("run", labels.texts("run").rev, "what is said before there is a summary", "")
    labels.close()
    card = load_card(place.name, checkout / "data/catalog")
    fetch_annotations(card, DownloadSettings(), 2.0, tmp_path / "raw")
    raw = tmp_path / "raw" / place.name
    first, second = load_annotations(raw / "annotations.jsonl", 2.0)
    assert (first.clip_ids, first.saliency) == ((0, 1, 3, 4), ((4.0,), (4.0,), (2.0,), (2.0,)))
    assert (first.split, second.split, second.windows) == ("train", "train", ((0, 9),))
    assert [summary.vid for summary in load_summaries(raw / "summaries.jsonl")] == ["walk"]
    with pytest.raises(InputError, match=r"labelled in clips of 2 s, but clip_len is 1"):
        fetch_annotations(card, DownloadSettings(), 1.0, tmp_path / "raw")
