import os
import re
import shutil
from pathlib import Path

import pytest
import yaml

from pipeline.card import load_card
from pipeline.card_file import ArchiveOrigin, CardFile, Features, Part, Videos
from pipeline.sources import shards
from pipeline.sources.shards import dataset_videos, shard_digests, shard_of
from read.errors import InputError

CATALOG = Path(__file__).parents[2] / "data" / "catalog"


def write(catalog: Path, name: str, **values) -> Path:
    folder = catalog / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "card.yaml").write_text(yaml.safe_dump({"title": "t", "licence": "l"} | values))
    return folder


SHIPPED = (
    "charades_sta",
    "how2",
    "montage",
    "montage_source",
    "qvhighlights",
    "template",
    "tvsum",
    "youtube_highlights",
)


@pytest.mark.parametrize("name", [name for name in SHIPPED if name != "how2"])
def test_shipped_cards_are_valid(name):
    card = load_card(name, CATALOG)
    assert card.name == name
    assert card.files[0].is_file()


def test_the_other_sources_of_the_template_are_valid_too(tmp_path):
    text = (CATALOG / "template" / "card.yaml").read_text()
    values = yaml.safe_load(text)
    values["videos"] = {"source": "url", "url": "https://example.org/{vid}.mp4", "sha256": "S", "mirror": "/mnt"}
    values["annotations"] = {"url": "https://example.org/a.jsonl", "sha256": "0" * 64}
    values |= {"summaries": "summaries.jsonl", "transcripts": "subtitles"}
    write(tmp_path, "mine", **values)
    assert load_card("mine", tmp_path).has_remote_annotations
    for model in (CardFile, Videos, Part, ArchiveOrigin, Features):
        assert all(f"{key}:" in text for key in model.model_fields)


def test_a_dataset_without_a_card_names_those_there_are():
    with pytest.raises(InputError, match=rf"montagge' is none of {', '.join(SHIPPED)}; did you mean montage\?"):
        load_card("montagge", CATALOG)


def test_all_mistakes_at_once_with_the_nearest_key(tmp_path):
    write(tmp_path, "bad", titel="x", videos={"source": "urll", "fodler": "x", "train": "many"})
    with pytest.raises(InputError) as error:
        load_card("bad", tmp_path)
    message = str(error.value)
    assert len(message.splitlines()) == 4
    assert "card.yaml: titel: unknown key; did you mean title?" in message
    assert "videos.fodler: unknown key; did you mean videos.folder?" in message
    assert "videos.source: " in message
    assert "videos.train: " in message


def test_keys_must_go_with_the_source(tmp_path):
    write(tmp_path, "bad", videos={"source": "local", "seed": 3, "url": "https://e.org/{vid}"})
    with pytest.raises(InputError) as error:
        load_card("bad", tmp_path)
    message = str(error.value)
    assert "videos.folder: is missing; source local needs it" in message
    assert "videos.seed: does not go with source local" in message
    assert "videos.url: does not go with source local" in message
    assert "annotations: is missing" in message


@pytest.mark.parametrize("url", ["ftp://e.org/{vid}", "https://e.org/video.mp4"])
def test_an_address_needs_http_and_the_id(tmp_path, url):
    write(tmp_path, "bad", annotations="a.jsonl", videos={"source": "url", "url": url})
    with pytest.raises(InputError, match=r"videos\.url"):
        load_card("bad", tmp_path)


def test_broken_yaml_is_named(tmp_path):
    write(tmp_path, "bad")
    (tmp_path / "bad" / "card.yaml").write_text("title: [")
    with pytest.raises(InputError, match=r"card\.yaml: not valid YAML"):
        load_card("bad", tmp_path)


def test_a_new_video_changes_the_digest_of_its_shard_only(tmp_path):
    folder = write(tmp_path, "mine", annotations="a.jsonl", videos={"source": "local", "folder": "videos"})
    lines = [f'{{"qid": {n}, "vid": "v{n}"}}\n' for n in range(40)]
    (folder / "a.jsonl").write_text("".join(lines))
    before = shard_digests("mine", 8, tmp_path)
    (folder / "a.jsonl").write_text("".join([*lines, '{"qid": 40, "vid": "new"}\n']))
    after = shard_digests("mine", 8, tmp_path)
    assert sum(before[shard] != after[shard] for shard in before) == 1


def test_montage_digests_follow_the_card(tmp_path):
    shutil.copytree(CATALOG / "montage", tmp_path / "montage")
    card = tmp_path / "montage" / "card.yaml"
    before = shard_digests("montage", 8, tmp_path)
    card.write_text(card.read_text().replace("train: 120", "train: 121"))
    more = shard_digests("montage", 8, tmp_path)
    assert sum(before[shard] != more[shard] for shard in before) == 1
    card.write_text(card.read_text().replace("seed: 0", "seed: 1"))
    other = shard_digests("montage", 8, tmp_path)
    assert all(more[shard] != other[shard] for shard in more)


def test_a_line_that_is_no_annotation_is_named_while_planning(tmp_path):
    folder = write(tmp_path, "mine", annotations="a.jsonl", videos={"source": "local", "folder": "videos"})
    with pytest.raises(InputError, match=r"a\.jsonl: no such annotation file"):
        shard_digests("mine", 2, tmp_path)
    (folder / "a.jsonl").write_text('{"vid": "v"}\n\nnonsense\n')
    with pytest.raises(InputError, match=r"a\.jsonl:3"):
        shard_digests("mine", 2, tmp_path)


def test_subtitles_stand_in_the_place_of_annotations(tmp_path):
    videos = {"source": "local", "folder": "videos"}
    folder = write(tmp_path, "talks", subtitles="captions.jsonl", videos=videos)
    assert load_card("talks", tmp_path).queries == "captions.jsonl"
    (folder / "captions.jsonl").write_text('{"vid": "a", "start": 0}\n{"vid": "a", "start": 2}\n')
    assert len(set(shard_digests("talks", 2, tmp_path).values())) == 2
    write(tmp_path, "both", annotations="a.jsonl", subtitles="captions.jsonl", videos=videos)
    with pytest.raises(InputError, match="subtitles: stands beside annotations"):
        load_card("both", tmp_path)


def test_a_folder_of_subtitles_names_its_videos(tmp_path):
    videos = {"source": "local", "folder": "videos"}
    folder = write(tmp_path, "talks", subtitles="said", videos=videos)
    assert load_card("talks", tmp_path).files[1:] == [folder / "said"]
    (folder / "said").mkdir()
    for name in ("b.srt", "a.VTT", "notes.txt"):
        (folder / "said" / name).touch()
    card = load_card("talks", tmp_path)
    assert card.files[1:] == [folder / "said" / "a.VTT", folder / "said" / "b.srt"]
    assert dataset_videos(card) == ["a", "b"]


def test_videos_are_those_of_queries_and_of_summaries(tmp_path):
    videos = {"source": "local", "folder": "videos"}
    folder = write(tmp_path, "mine", annotations="a.jsonl", summaries="s.jsonl", transcripts="said", videos=videos)
    (folder / "a.jsonl").write_text("".join(f'{{"vid": "v{n}"}}\n' for n in range(20)))
    lines = [f'{{"vid": "v{n}", "summary": "up\u2028down"}}\n' for n in range(10, 30)]
    (folder / "s.jsonl").write_text("".join(lines), encoding="utf-8")
    card = load_card("mine", tmp_path)
    assert card.files == [folder / name for name in ("card.yaml", "a.jsonl", "s.jsonl", "said")]
    assert dataset_videos(card) == sorted(f"v{n}" for n in range(30))
    before = shard_digests("mine", 8, tmp_path)
    (folder / "s.jsonl").write_text("".join([*lines, '{"vid": "new"}\n']), encoding="utf-8")
    after = shard_digests("mine", 8, tmp_path)
    assert [shard for shard in before if before[shard] != after[shard]] == [shard_of("new", 8)]


def test_summaries_of_known_videos_change_no_digest(tmp_path):
    videos = {"source": "local", "folder": "videos"}
    folder = write(tmp_path, "mine", annotations="a.jsonl", videos=videos)
    (folder / "a.jsonl").write_text('{"vid": "a"}\n{"vid": "b"}\n')
    before = shard_digests("mine", 4, tmp_path)
    (folder / "s.jsonl").write_text('{"vid": "b"}\n')
    write(tmp_path, "mine", annotations="a.jsonl", summaries="s.jsonl", videos=videos)
    assert shard_digests("mine", 4, tmp_path) == before
    write(tmp_path, "mine", summaries="s.jsonl", videos=videos)
    after = shard_digests("mine", 4, tmp_path)
    assert [shard for shard in before if before[shard] != after[shard]] == [shard_of("a", 4)]


def test_summaries_to_download_count_by_their_digest(tmp_path):
    videos = {"source": "local", "folder": "videos"}
    remote = {"url": "https://e.org/s.jsonl", "sha256": "0" * 64}
    folder = write(tmp_path, "mine", annotations="a.jsonl", summaries=remote, videos=videos)
    (folder / "a.jsonl").write_text('{"vid": "a"}\n')
    before = shard_digests("mine", 4, tmp_path)
    write(tmp_path, "mine", annotations="a.jsonl", summaries=remote | {"sha256": "1" * 64}, videos=videos)
    after = shard_digests("mine", 4, tmp_path)
    assert all(before[shard] != after[shard] for shard in before)
    assert load_card("mine", tmp_path).has_remote_annotations


def test_labels_that_do_not_go_together(tmp_path):
    videos = {"source": "local", "folder": "videos"}
    write(tmp_path, "bad", annotations="a.jsonl", transcripts="said", videos=videos)
    with pytest.raises(InputError, match="transcripts: goes with summaries, which is missing"):
        load_card("bad", tmp_path)
    montage = {"source": "montage", "domain": "source", "train": 1, "test": 0, "seed": 0}
    write(tmp_path, "bad", summaries="s.jsonl", videos=montage)
    with pytest.raises(InputError, match="summaries: does not go with source montage"):
        load_card("bad", tmp_path)


def mistakes(tmp_path, **values) -> str:
    """What is said of a card, without the file's name."""
    path = write(tmp_path, "bad", **{"videos": {"source": "youtube"}} | values) / "card.yaml"
    with pytest.raises(InputError) as error:
        load_card("bad", tmp_path)
    return str(error.value).replace(f"{path}: ", "")


def test_parts_have_one_origin_and_a_digest(tmp_path):
    url = "https://e.org/a.jsonl"
    message = mistakes(tmp_path, annotations=[{"url": url}, {"file": "a", "url": url, "sha256": "0" * 64}, {}])
    assert message.splitlines() == [
        "annotations.0.sha256: is missing; what is downloaded is pinned by it",
        "annotations.1: takes url or file, one of the two",
        "annotations.2: takes url or file, one of the two",
    ]
    assert mistakes(tmp_path, annotations=[]) == "annotations: is an empty list"


def test_mistakes_are_told_of_the_form_that_was_meant(tmp_path):
    message = mistakes(tmp_path, annotations=[{"file": "a", "split": "training"}], summaries={"url": "x"})
    lines = message.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("annotations.parts.0.split: ")
    assert lines[1].startswith("summaries.address.url: ")
    assert lines[2].startswith("summaries.address.sha256: is missing")


def test_a_layout_goes_with_parts_of_its_kind(tmp_path):
    assert mistakes(tmp_path, annotations="a.jsonl", layout="tvsum").startswith(
        "layout: tvsum goes with a list of files"
    )
    part = [{"file": "a", "split": "test"}]
    message = mistakes(tmp_path, annotations=part, layout="how2")
    assert message == "layout: how2 is one of summaries, which annotations are not"
    assert mistakes(tmp_path, summaries=part, layout="tvsum").startswith("layout: tvsum is one of annotations")


def test_manual_sources_and_packages_say_enough(tmp_path):
    manual = {"source": "manual", "folder": "videos"}
    assert mistakes(tmp_path, annotations="a", videos=manual).startswith("instructions: is missing")
    package = {"layout": "umt", "clip_len": 2.0}
    assert mistakes(tmp_path, annotations="a", features=package) == "features: takes url or path, one of the two"
    archive = {"source": "archive"}
    assert mistakes(tmp_path, annotations="a", videos=archive) == (
        "videos.archive: is missing; source archive needs it"
    )


PACKAGE = {"path": "features", "layout": "npz", "encoders": ["efficientnet", "conse"], "clip_len": 2.0}


def with_features(tmp_path, **features):
    videos = {"source": "local", "folder": "videos"}
    write(tmp_path, "mine", annotations="a.jsonl", videos=videos, features=PACKAGE | features)
    return load_card("mine", tmp_path).features


def test_encoders_of_a_package(tmp_path):
    assert with_features(tmp_path, joint="conse").joint == "conse"
    assert with_features(tmp_path, layout="moment_detr", encoders=None, joint="clip").encoders is None
    assert with_features(tmp_path, layout="moment_detr", encoders=None, sound=["pann"]).sound == ["pann"]


@pytest.mark.parametrize(
    ("features", "reason"),
    [
        ({"joint": "clip"}, "features.joint: 'clip' is none of efficientnet, conse"),
        ({"layout": "umt", "encoders": None, "joint": "clip"}, "features.joint: 'clip' is none of rgb, opt"),
        ({"layout": "umt"}, "features.encoders: does not go with the layout umt, which has rgb, opt"),
        ({"sound": ["pann"]}, "features.sound: 'pann' is none of efficientnet, conse"),
        ({"layout": "umt", "encoders": None, "sound": ["pann"]}, "features.sound: 'pann' is none of audio, opt"),
        ({"joint": "conse", "normalise": False}, "features.normalise: is false, but what a joint space compares"),
        ({"encoders": None}, "features.encoders: is missing; the layout npz has arrays by the names"),
        ({"encoders": ["a", "b", "a"]}, "features.encoders: holds a twice"),
        ({"encoders": []}, "features.encoders: "),
        ({"encoders": ["a/b"]}, "features.encoders.0: "),
    ],
)
def test_encoders_that_a_package_cannot_have(tmp_path, features, reason):
    with pytest.raises(InputError, match=re.escape(f"card.yaml: {reason}")):
        with_features(tmp_path, **features)


def test_the_plan_is_kept_until_a_file_or_the_code_is_another(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = write(tmp_path, "mine", annotations="a.jsonl", videos={"source": "local", "folder": "videos"})

    def rows(name: str) -> None:
        (folder / "a.jsonl").write_text(f'{{"qid": 1, "vid": "{name}"}}\n')

    rows("one")
    read = []
    parse = shards.labelled_videos
    monkeypatch.setattr(shards, "labelled_videos", lambda paths: read.append(1) or parse(paths))
    first = shards.planned_digests("mine", 2, "code", tmp_path)
    assert first == shard_digests("mine", 2, tmp_path) and not shards.PLANNED.exists()  # it may change in this instant
    for path in folder.iterdir():
        os.utime(path, (1e9, 1e9))
    read.clear()
    for _ in range(3):
        assert shards.planned_digests("mine", 2, "code", tmp_path) == first
    assert len(read) == 1
    shards.planned_digests("mine", 2, "other", tmp_path)
    assert len(shards.planned_digests("mine", 3, "other", tmp_path)) == 3 and len(read) == 3
    rows("two")
    assert shards.planned_digests("mine", 2, "code", tmp_path) == shard_digests("mine", 2, tmp_path) != first
