"""Videos stitched of captioned clips: which clips are on which side, what is asked, what is shown, what is kept."""

import json
import random
import shutil
from collections import Counter
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch

from pipeline import paths
from pipeline.annotations import fetch_annotations
from pipeline.card_file import Videos
from pipeline.sources.pinned import unpinned
from pipeline.sources.shards import dataset_videos, shard_digests, shard_ids
from pipeline.sources.stitched import plan, render
from pipeline.sources.stitched.captions import load_captions, plain
from pipeline.sources.stitched.clips import Look, alike, groups_of
from pipeline.sources.stitched.plan import CaptionedClip, deal, lay_out, piece_of
from pipeline.sources.stitched.render import faded
from pipeline.stages import download as stage
from pipeline.stages import extract
from read.data import FeatureStore, load_annotations
from read.data.features import join_features
from read.encoders.frames import iter_clips
from read.errors import InputError
from read.files import read_json, read_jsonl
from tests.pipeline.datasets import OneByOne, download, options, servers
from tests.pipeline.stitched_clips import NAMES, mistakes, seen, stitched_card, write_clip, write_clips


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp("stitched") / "clips")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(render, "SIDE", 64)


@pytest.fixture
def room(clips, tmp_path):
    (tmp_path / "clips").symlink_to(clips)
    return tmp_path


def laid(tmp_path):
    """Video -> the clips of its pieces, and its lines of annotations."""
    raw, shown = tmp_path / "raw" / "mine", {}
    for row in read_jsonl(raw / "pieces.jsonl"):
        shown.setdefault(row["vid"], []).append(row["clip"])
    return shown, read_jsonl(raw / "annotations.jsonl")


def annotate(card, tmp_path):
    fetch_annotations(card, options(), 2.0, tmp_path / "raw")
    return laid(tmp_path)


@pytest.mark.video
@pytest.mark.parametrize("cut", ["hard", "crossfade"])
def test_each_caption_is_asked_and_its_moment_shows_its_clip(room, cut):
    card = stitched_card(room, cut=cut, distractors=1, per=2, seconds=[4, 4] if cut == "crossfade" else [2, 4])
    manifest = download(card, room)
    raw = room / "raw" / "mine"
    assert set(manifest["videos"]) == {*dataset_videos(card)} and manifest["missing"] == {}
    shown, rows = laid(room)
    annotations = load_annotations(raw / "annotations.jsonl", 2.0)
    assert Counter(row["vid"] for row in rows) == dict.fromkeys(shown, 2)  # of three clips, one is a distractor
    fade = 0.5 if cut == "crossfade" else 0.0  # that part of a moment in which it is mixed with its neighbours
    looks = {vid: seen(raw / "videos" / entry["file"]) for vid, entry in manifest["videos"].items()}
    for row, annotation in zip(rows, annotations, strict=True):
        look, ((start, end),) = looks[row["vid"]], annotation.windows
        wanted = row["query"].removeprefix("clip ")
        assert wanted in shown[row["vid"]] and len(look) == 4 * row["duration"]
        assert end - start >= 2 and set(look[round(4 * (start + fade)) : round(4 * (end - fade))]) == {wanted}
        if cut == "hard":
            assert start % 2 == end % 2 == row["duration"] % 2 == 0
            outside = look[: round(4 * start)] + look[round(4 * end) :]
            assert set(outside) == {*shown[row["vid"]]} - {wanted}
    about = read_json(raw / "dataset.json")
    assert about["sides"] == {"test": {"labels": 4, "videos": 2}, "train": {"labels": 4, "videos": 2}}
    assert read_jsonl(raw / "segments.jsonl") == read_jsonl(raw / "summaries.jsonl") == []


def test_a_crossfade_mixes_the_end_of_one_with_the_beginning_of_the_next():
    def still(value, seconds):
        return (np.full((2, 2, 3), value, np.uint8) for _ in range(seconds * plan.FPS))

    frames = [int(frame[0, 0, 0]) for frame in faded(iter([still(0, 3), still(240, 2), still(0, 2)]))]
    assert len(frames) == (3 + 2 + 2 - 2) * plan.FPS
    assert frames[: 2 * plan.FPS] == [0] * 2 * plan.FPS
    fade = frames[2 * plan.FPS : 3 * plan.FPS]
    assert fade == sorted(fade) and fade[0] == 5 and fade[-1] == 235 and np.mean(fade) == pytest.approx(120, abs=1)
    assert frames[3 * plan.FPS] < 240 and frames[-1] == 0


def sides(shown):
    """CaptionedClip -> the sides that it is on."""
    found: dict[str, set[str]] = {}
    for vid, names in shown.items():
        for name in names:
            found.setdefault(name, set()).add(vid.partition("_")[0])
    return found


def library(count=120, seed=0):
    """Clips of which some share captions, some files, and what looks the same."""
    rng = random.Random(seed)
    clips, captions = {}, {}
    for number in range(count):
        scene = (f"scene {rng.randrange(count // 3)}",) * (number % 4 == 0)
        captions[f"v{number}"] = scene or ("Common words.", f"Other, {number}")
    for name, asked in plan.asked_of(captions).items():
        file = f"digest {rng.randrange(4 * count)}"
        clips[name] = CaptionedClip(name, file, rng.randrange(60, 400), captions[name], asked)
    same = {name: {other for other in clips if clips[other].sha256 == clips[name].sha256} for name in clips}
    for twin in range(0, 40, 10):
        same[f"v{twin}"].add(f"v{twin + 5}")
        same[f"v{twin + 5}"].add(f"v{twin}")
    return clips, same


def videos_of(**changes):
    """The section of a card."""
    keys = {"source": "stitched", "folder": "x", "captions": "c", "per": 4, "seconds": [2.0, 6.0], "cut": "hard"}
    return Videos(**keys | {"train": 3, "val": 2, "test": 4, "seed": 0} | changes)


def stitch(clips, same, videos):
    drawn = {name: piece_of(clip, videos.seconds, 2.0) for name, clip in clips.items()}
    pieces = {name: piece for name, piece in drawn.items() if piece}
    return lay_out(clips, pieces, groups_of(clips.values(), same), videos)


@pytest.mark.parametrize("seed", range(4))
def test_no_clip_no_twin_and_no_caption_is_on_two_sides_or_in_two_domains(seed):
    clips, same = library(seed=seed)
    shares = {"seed": seed, "source_share": 0.4}
    cards = {
        # Clips that are too short for one of the cards hold groups together in both.
        "source": videos_of(domain="source", train=20, val=1, test=None, **shares | {"seconds": [6.0, 8.0]}),
        "target": videos_of(domain="target", train=3, val=1, test=4, distractors=1, **shares),
    }
    found: dict[str, set[str]] = {}
    for domain, videos in cards.items():
        made = stitch(clips, same, videos)
        assert [video.vid for video in made] == plan.video_ids(videos)
        shown = Counter(piece.clip for video in made for piece in video.pieces)
        once = [p.clip for video in made if domain == "target" or "val" in video.vid for p in video.pieces]
        assert len(once) == len(set(once)) and all(shown[name] == 1 for name in once)
        for name, on in sides({video.vid: [piece.clip for piece in video.pieces] for video in made}).items():
            found.setdefault(name, set()).update(f"{domain} {side}" for side in on)
    for name, on in found.items():
        assert len(on) == 1
        for other in found:
            captioned_alike = {plain(text) for text in clips[name].asked} & {plain(text) for text in clips[other].asked}
            if other in same[name] or captioned_alike:
                assert found[other] == on
    assert len({side for on in found.values() for side in on}) == 5


def test_the_source_is_stitched_anew_as_often_as_is_asked():
    clips, same = library()
    few, many = (
        stitch(clips, same, videos_of(domain="source", source_share=0.5, train=train, val=1, test=None))
        for train in (10, 90)
    )
    assert many[: len(few)] == few  # val first, then what there was
    train = [video for video in many if video.vid.startswith("train")]
    orders = {tuple(piece.clip for piece in video.pieces) for video in train}
    assert len(train) == 90 and len(orders) > 80
    assert all(len({piece.clip for piece in video.pieces}) == 4 for video in train)
    times = Counter(piece.clip for video in train for piece in video.pieces)
    assert max(times.values()) - min(times.values()) <= 4


def test_seeds_stitch_the_same_pieces_otherwise():
    clips, same = library()
    one, again, other = (stitch(clips, same, videos_of(seed=seed, train=12)) for seed in (0, 0, 1))
    assert one == again and one != other
    shown = [{piece.clip: piece for video in made for piece in video.pieces} for made in (one, other)]
    both = shown[0].keys() & shown[1].keys()
    assert len(both) > 40 and all(shown[0][name] == shown[1][name] for name in both)
    assert {piece.seconds for piece in shown[0].values()} == {2.0, 4.0, 6.0}
    for piece in shown[0].values():
        assert piece.start >= 0 and (piece.start + piece.seconds) * 24 <= clips[piece.clip].frames + 1e-6


def test_a_caption_of_several_clips_in_a_video_has_the_windows_of_all():
    texts = {"a": "A dog runs.", "b": "a dog  runs", "c": "a cat", "d": "snow"}
    clips = {name: CaptionedClip(name, name, 240, (text,), (text,)) for name, text in texts.items()}
    groups = groups_of(clips.values(), {name: {name} for name in clips})
    assert groups == [["a", "b"], ["c"], ["d"]]
    neighbours = apart = 0
    for seed in range(12):
        videos = videos_of(seed=seed, per=4, train=0, val=0, test=1)
        pieces = {name: piece_of(clip, [4.0, 4.0], 2.0) for name, clip in clips.items()}
        (video,) = lay_out(clips, pieces, groups, videos)
        asked = {plain(query.text): query.windows for query in video.queries}
        places = {piece.clip: start for piece, start in zip(video.pieces, video.starts, strict=True)}
        assert set(asked) == {"a dog runs", "a cat", "snow"}
        assert asked["a cat"] == [[places["c"], places["c"] + 4]]
        one, other = sorted((places["a"], places["b"]))
        touching = other == one + 4
        assert asked["a dog runs"] == ([[one, one + 8]] if touching else [[one, one + 4], [other, other + 4]])
        neighbours, apart = neighbours + touching, apart + (not touching)
    assert neighbours and apart


def test_a_group_is_in_one_video_where_it_has_room():
    groups = [list("abc"), list("de"), *"fghijkl"]
    for seed in range(5):
        hands = deal(groups, 3, 4, random.Random(seed))
        assert sorted(name for hand in hands for name in hand) == list("abcdefghijkl")
        assert all(any(set(group) <= set(hand) for hand in hands) for group in groups)
    spread = deal([list("abcdefg"), ["h"]], 2, 4, random.Random(0))
    assert sorted(map(len, spread)) == [4, 4]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"test": 40}, "40 of test and 2 of val and 3 of train are wanted, of 4 clips each"),
        ({"train": 40}, "videos.train: 4 of test"),
        ({"per": 200}, "there are 120 clips, the largest group"),
        ({"seconds": [2.5, 3.5]}, "no length from 2.5 to 3.5 s is a whole number of clips"),
    ],
)
def test_what_cannot_be_stitched_is_told(changes, words):
    clips, same = library()
    with pytest.raises(InputError, match=words):
        stitch(clips, same, videos_of(**changes))


def test_mistakes_of_a_card_are_told_with_their_keys(tmp_path):
    assert mistakes(tmp_path) == []
    said = mistakes(tmp_path, folder=None, captions=None, train=None, test=0, domain="target", seconds=[4, 2])
    assert [line.partition("card.yaml: ")[2].partition(":")[0] for line in said] == [
        "videos.captions",
        "videos.train",
        "videos",
        "videos.source_share",
        "videos.train",
        "videos.test",
        "videos.seconds",
    ]
    for changes, words in (
        ({"url": "https://e.org/{vid}.mp4"}, "takes folder or url, one of the two"),
        ({"domain": "source", "source_share": 0.5, "val": 1}, "videos.test: does not go with domain source"),
        ({"domain": "source", "source_share": 0.5, "test": None}, "videos.val: is missing or 0"),
        ({"cut": "crossfade", "seconds": [1, 4]}, "a piece has to last 2 s at least"),
        ({"cut": "soft"}, "videos.cut: "),
        ({"distractors": -1}, "videos.distractors: "),
        ({"mirror": "x"}, "videos.mirror: does not go with source stitched"),
    ):
        (line,) = mistakes(tmp_path, **changes)
        assert words in line


def test_two_cards_of_the_same_clips_have_to_share_them_alike(room):
    parted = {"domain": "source", "source_share": 0.5, "val": 1, "test": None, "train": 1, "per": 1}
    stitched_card(room, name="rest", **parted)
    with pytest.raises(InputError, match=r"rest/card\.yaml is of the same clips"):
        annotate(stitched_card(room), room)


CAPTIONS = {
    "lines": ("c.jsonl", '{"vid": "a", "sentence": "A  dog"}\n{"vid": "a", "sentence": "a cat", "more": 1}\n'),
    "table": ("c.csv", "\ufeffmore,vid,sentence\n1,a,A  dog\n2,a,a cat\n3,a,a cat\n"),
}


@pytest.mark.parametrize("form", CAPTIONS)
def test_captions_are_lines_or_a_table(tmp_path, form):
    name, text = CAPTIONS[form]
    (tmp_path / name).write_text(text)
    assert load_captions(tmp_path / name) == {"a": ["A dog", "a cat"]}
    assert plain("A dog, runs!") == plain("a DOG runs") != plain("a cat runs")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        (
            "c.jsonl",
            '{"vid": "a"}\n{"vid": "a/b", "sentence": " "}\n',
            r"c\.jsonl:1: .*\n.*c\.jsonl:2: .*file name.*empty",
        ),
        ("c.csv", "vid,caption\na,b\n", r"no column sentence; its first line has vid, caption"),
        ("c.csv", "vid,sentence\na,b\nc,\n", r"c\.csv:3: "),
        ("c.jsonl", "\n", "holds no caption"),
    ],
)
def test_mistakes_in_captions_are_told_with_their_lines(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=words):
        load_captions(tmp_path / name)
    with pytest.raises(InputError, match="no such file"):
        load_captions(tmp_path / "other.jsonl")


def test_copies_look_alike_and_others_do_not(tmp_path):
    rng = np.random.default_rng(0)
    scenes = rng.integers(0, 255, (6, 8, 16, 16)).astype(np.uint8)
    looks = {name: Look(name, 240, scene) for name, scene in zip("abcdef", scenes, strict=True)}
    noisy = np.clip(scenes[0].astype(float) * 0.8 + 20 + rng.normal(0, 5, scenes[0].shape), 0, 255).astype(np.uint8)
    looks["brighter"] = Look("x", 240, noisy)
    looks["shorter"] = Look("y", 100, scenes[1][3:7])
    looks["equal"] = Look("c", 240, scenes[2])
    looks["black"], looks["dark"] = (Look(name, 240, np.zeros((8, 16, 16), np.uint8)) for name in ("p", "q"))
    pairs = {frozenset((one, other)) for one, others in alike(looks).items() for other in others if one != other}
    assert pairs == {frozenset(pair) for pair in (("a", "brighter"), ("b", "shorter"), ("c", "equal"))}


@pytest.mark.video
def test_what_cannot_be_used_is_left_out_and_told(clips, tmp_path, capsys):
    folder = tmp_path / "clips"
    shutil.copytree(clips, folder)
    (folder / "c00.mp4").write_bytes(b"no video")
    (folder / "c01.mp4").unlink()
    write_clip(folder / "c02.mp4", "c02", 1.5)
    shutil.copyfile(folder / "c03.mp4", folder / "c04.mp4")
    card = stitched_card(tmp_path, captioned={"c05": ["clip c06!"]}, train=1)
    shown, _ = annotate(card, tmp_path)
    changed = read_json(tmp_path / "raw" / "mine" / "dataset.json")["changed"]
    assert sorted(changed.items()) == [
        ("clips left out, as their files cannot be had or decoded", 2),
        ("clips left out, as they are shorter than 2 s", 1),
    ]
    said = capsys.readouterr().out
    assert "clip c00 is left out" in said and "clip c01 is left out" in said and "shorter than 2 s: c02" in said
    assert "  c03, c04\n" in said and "  c05, c06\n" in said
    found = sides(shown)
    assert not {"c00", "c01", "c02"} & found.keys()
    for one, other in (("c03", "c04"), ("c05", "c06")):
        assert found.get(one, found.get(other)) == found.get(other, found.get(one))


def test_clips_at_addresses_are_downloaded_once(clips, tmp_path):
    with servers() as serve:
        address, asked = serve(clips)
        changes = {"folder": None, "url": f"{address}/{{vid}}.mp4"}
        card = stitched_card(tmp_path, **changes)
        first, _ = annotate(card, tmp_path)
        assert sorted(asked) == [f"/{name}.mp4" for name in NAMES]
        asked.clear()
        second, _ = annotate(stitched_card(tmp_path, **changes, seed=1), tmp_path)
        stage.fetch_shard(card, "000", options(shards=4), tmp_path / "raw")
        listed = read_json(tmp_path / "raw" / "mine" / "shards" / "000.json")
        assert asked == [] and first != second and listed["missing"] == {}
        assert unpinned(card) == ["clips, one by one; pieces.jsonl tells the digests of what came"]


def test_an_interrupted_stitching_goes_on_and_an_exchanged_clip_is_told(clips, tmp_path, monkeypatch):
    shutil.copytree(clips, tmp_path / "clips")
    card, raw = stitched_card(tmp_path), tmp_path / "raw" / "mine"
    whole = download(card, tmp_path)["videos"]
    shutil.rmtree(raw)
    annotate(card, tmp_path)
    written = []
    original = render.write_piece

    def killed(clip, start, seconds, out):
        if len(written) == 4:
            raise KeyboardInterrupt
        written.append(clip.stem)
        original(clip, start, seconds, out)

    monkeypatch.setattr(render, "write_piece", killed)
    with pytest.raises(KeyboardInterrupt):
        stage.fetch_shard(card, "000", options(shards=1), tmp_path / "raw")
    assert len(list((raw / "pieces").glob("*.mp4"))) == 4 and len(list((raw / "videos").glob("*.mp4"))) == 1
    written.clear()
    monkeypatch.setattr(render, "write_piece", lambda *args: (written.append(args[0].stem), original(*args)))
    assert download(card, tmp_path)["videos"] == whole
    assert len(written) == 12 - 4  # of two sides of two videos of three clips
    assert sorted(path.name for path in (raw / "pieces").iterdir()) == sorted(
        row["file"] for row in read_jsonl(raw / "pieces.jsonl")
    )
    gone = read_jsonl(raw / "pieces.jsonl")[0]
    (raw / "pieces" / gone["file"]).unlink()
    write_clip(tmp_path / "clips" / f"{gone['clip']}.mp4", NAMES[0], 9.0)
    with pytest.raises(InputError, match=rf"{gone['vid']}: clip {gone['clip']}: .* is another file than when"):
        for shard in ("000", "001"):
            stage.fetch_shard(card, shard, options(), tmp_path / "raw")
        stage.write_manifest(card, options(), tmp_path / "raw")


class Means(OneByOne):
    """An extractor of mean colours, by the real decoding; it remembers what it read."""

    spec: ClassVar = {"clip_len": 2.0, "encoders": {"colour": {"name": "colour"}}}

    def __init__(self):
        self.read = []

    def video(self, path):
        self.read.append(path.name)
        rows = np.stack([clip.mean(axis=(0, 1, 2)) for clip in iter_clips(path, 8, 2.0, 64)])
        return SimpleNamespace(arrays={"colour": rows.astype(np.float32)}, seconds=2.0 * len(rows), told="")


@pytest.mark.video
def test_another_stitching_decodes_only_pieces_that_were_not_seen(room, monkeypatch, shards=2):
    monkeypatch.chdir(room)
    extractor = Means()
    monkeypatch.setattr(extract, "extractor_of", lambda settings: extractor)
    settings = SimpleNamespace(clip_len=2.0, extract=SimpleNamespace(fps=8.0, dtype="float32"))

    def run(seed, **changes):
        card = stitched_card(room, seed=seed, per=3, test=1, train=2, **changes)
        fetch_annotations(card, options(), 2.0)
        for shard in shard_ids(shards):
            stage.fetch_shard(card, shard, options(shards=shards))
        stage.write_manifest(card, options(shards=shards))
        extractor.read.clear()
        for shard in shard_ids(shards):
            extract.extract_shard("mine", shard, settings, "code")
        return {row["clip"] for row in read_jsonl(paths.raw("mine") / "pieces.jsonl")}

    first = run(0)
    assert len(extractor.read) == len(first) == 9
    second = run(1)
    assert len(extractor.read) == len(second - first) and second != first
    third = run(1, cut="crossfade")
    assert third == second and sorted(extractor.read) == ["test_0000.mp4", "train_0000.mp4", "train_0001.mp4"]
    run(2)
    store = FeatureStore(paths.features("mine"))
    for file in sorted((paths.raw("mine") / "videos").iterdir())[:2]:  # of the pieces as of the whole, to the bit
        whole = join_features([torch.from_numpy(Means().video(file).arrays["colour"])])
        assert torch.equal(store.video(file.stem), whole)


def test_the_plan_follows_card_and_captions(room):
    stitched_card(room)
    before = shard_digests("mine", 2, room / "catalog")
    stitched_card(room, captioned={"c00": ["other words"]})
    after = shard_digests("mine", 2, room / "catalog")
    stitched_card(room, captioned={"c00": ["other words"]}, seed=1)
    assert len({json.dumps(d) for d in (before, after, shard_digests("mine", 2, room / "catalog"))}) == 3
