"""The benchmark on real clips, with made-up ones in their place: what lands on which side, and that all of it runs."""

import csv

import numpy as np
import pytest

from benchmarks import clips, order, real
from read.errors import InputError
from read.files import read_json, read_jsonl, write_text

COUNT = 100
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "a",
    "man",
    "woman",
    "dog",
    "sings",
    "runs",
    "eats",
    "one",
    "two",
]


def folder_of(path):
    """Clips whose features tell which of a few captions they have; 0 and 1 look alike, 2 and 3 are told alike."""
    dice = np.random.default_rng(0)
    captions = [f"a {WORDS[6 + n % 3]} {WORDS[9 + n // 3 % 3]} " + "one " * (n // 9) + f"w{n}" for n in range(COUNT)]
    captions[3] = captions[2]
    lengths = dice.integers(5, 8, COUNT)
    lengths[1] = lengths[0]
    bounds = np.concatenate([[0], lengths.cumsum()])
    features = dice.standard_normal((bounds[-1], 12)).astype(np.float16)
    features[bounds[1] : bounds[2]] = features[: bounds[1]]
    conse = dice.standard_normal((bounds[-1], 16)).astype(np.float16)
    path.mkdir()
    ids = np.array([f"video{n}" for n in range(COUNT)])
    np.savez(path / clips.FEATURES, ids=ids, offsets=bounds, features=features, conse=conse)
    with (path / clips.CAPTIONS).open("w", newline="") as file:
        csv.writer(file).writerows([("video_id", "sentence"), *zip(ids, captions, strict=True)])
    return path


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A folder of clips, and one of a sentence encoder as small."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    room = tmp_path_factory.mktemp("real")
    write_text(room / "vocab.txt", "\n".join(WORDS))
    BertTokenizerFast(str(room / "vocab.txt")).save_pretrained(room / "minilm")
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(WORDS), hidden_size=16, **sizes)).save_pretrained(room / "minilm")
    return folder_of(room / "clips"), room / "minilm"


@pytest.fixture(scope="module")
def loaded(given):
    return clips.load_clips(*given)


@pytest.mark.parametrize("shift", [False, True])
def test_sides_share_no_clip_and_no_twin(loaded, shift):
    sides = clips.sides_of(loaded, 0, shift)
    assert {side: len(members) for side, members in sides.items()} == {"source": 40, "test": 24, "train": 36}
    assert sorted(clip for members in sides.values() for clip in members) == list(range(COUNT))
    for one, other in ((0, 1), (2, 3)):
        assert [side for side in sides if one in sides[side]] == [side for side in sides if other in sides[side]]
        assert one not in sides["train"]
    assert sides != clips.sides_of(loaded, 1, shift)
    assert sides == clips.sides_of(loaded, 0, shift)


def test_a_shift_parts_what_captions_are_about(loaded):
    place = clips.principal(np.stack([tokens.mean(0) for tokens in loaded.tokens]))

    def gap(shift):
        sides = clips.sides_of(loaded, 0, shift)
        return place[sides["test"] + sides["train"]].mean() - place[sides["source"]].mean()

    assert gap(True) > 2 * abs(gap(False))


def test_a_moment_is_its_clip(loaded, tmp_path):
    clips.write_dataset(tmp_path, "real", loaded, {"test": list(range(4, 20))}, 2, 0)
    rows = read_jsonl(tmp_path / "real" / "annotations.jsonl")
    assert len(rows) == 32 and len({row["vid"] for row in rows}) == 4
    for row in rows:
        clip = loaded.captions.index(row["query"])
        start, end = (int(second / clips.CLIP_LEN) for second in row["relevant_windows"][0])
        with np.load(tmp_path / "real" / "features" / "videos" / f"{row['vid']}.npz") as video:
            assert {name: array[start:end].tolist() for name, array in video.items()} == {
                name: array.tolist() for name, array in loaded.features[clip].items()
            }
            assert len(video["conse"]) * clips.CLIP_LEN == row["duration"]
        with np.load(tmp_path / "real" / "features" / "queries" / f"{row['qid']}.npz") as query:
            np.testing.assert_array_equal(query["tokens"], loaded.tokens[clip])
    assert rows[0]["query"] != rows[16]["query"]  # the second round stands in another order


def test_what_is_missing_is_named(given, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"msrvtt1ka_features\.npz: is missing"):
        clips.load_clips(tmp_path, given[1])
    with pytest.raises(InputError, match="holds no model"):
        clips.minilm_folder(tmp_path)
    monkeypatch.setattr(clips, "CACHE", tmp_path)
    monkeypatch.setattr(clips, "MODULE", "no_such_package")
    monkeypatch.setattr(clips, "WHEEL", "./no-such-wheel-0.1.0-py3-none-any.whl")
    with pytest.raises(InputError, match=r"cannot be had .*--minilm"):
        clips.minilm_folder(None)


def test_without_clips_nothing_is_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(real, "DEFAULT", tmp_path / "absent")
    real.main([])
    assert "nothing is measured" in capsys.readouterr().out


@pytest.mark.slow
def test_a_small_run(given, tmp_path, capsys):
    small = [f"pretrain.grounding.{key}={value}" for key, value in {"steps": 2, "hidden": 16, "layers": 1}.items()]
    small += ["train.grounding.steps=2", "train.grounding.learning_rates=[0.001]", "train.grounding.evaluations=1"]
    folder, minilm = map(str, given)
    where = ["--features", folder, "--minilm", minilm, "--json", str(tmp_path / "rows.json")]
    real.main([*where, "--seeds", "10", "--shots", "2", "--set", *small])
    written = read_json(tmp_path / "rows.json")
    assert (written["stitch_seed"], written["shift"]) == (0, False)
    for backbone in real.BACKBONES:
        rows = {row["strategy"]: row for row in written["rows"] if row["backbone"] == backbone}
        assert {"random", "cosine", "map", "zero_shot", *real.STRATEGIES} <= set(rows)
        assert all(set(row) == {"strategy", "backbone", "shots", "seed", *real.NUMBERS} for row in rows.values())
        assert (rows["oracle"]["map"], rows["oracle"]["ap"], rows["oracle"]["r1_5"]) == (100.0, 100.0, 100.0)
    assert "k = 2: mAP" in capsys.readouterr().out


def test_orders_of_labelling_are_compared_on_the_same_test_side(given, tmp_path, capsys):
    where = ["--features", str(given[0]), "--minilm", str(given[1]), "--json", str(tmp_path / "rows.json")]
    order.main([*where, "--seeds", "0", "--orders", "2", "--shots", "2", "6"])
    rows = {
        (row["order"], row["draw"], row["shots"]): row["score"] for row in read_json(tmp_path / "rows.json")["rows"]
    }
    assert len(rows) == (2 + 1 + 1) * 2 and all(0 < score <= 100 for score in rows.values())
    assert rows["novelty", 0, 2] == rows["novelty x doubt", 0, 2]  # nothing is learned yet of which one could doubt
    assert rows["random", 0, 2] != rows["random", 1, 2]
    assert f"random{rows['random', 0, 2] / 2 + rows['random', 1, 2] / 2:19.1f}" in capsys.readouterr().out
    order.main(["--features", str(tmp_path / "nowhere")])
    assert "is not there, so nothing is measured" in capsys.readouterr().out


def test_stitched_videos_have_each_caption_where_its_clip_is(loaded):
    for topics in (False, True):
        videos = order.stitched(loaded, range(20), 0, topics)
        assert len(videos) == 2 and all(len(samples) == clips.PER for samples in videos.values())
        for samples in videos.values():
            for sample in samples:
                ((start, end),) = sample.annotation.windows
                rows = sample.video[int(start / clips.CLIP_LEN) : int(end / clips.CLIP_LEN)]
                assert sample.annotation.query == loaded.captions[sample.annotation.qid]
                np.testing.assert_array_equal(rows, loaded.video(str(sample.annotation.qid)))
