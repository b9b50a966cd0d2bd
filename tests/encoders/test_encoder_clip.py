"""CLIP features against open_clip's own outputs, and its weights in and out."""

import numpy as np
import open_clip
import pytest
import torch

from read.encoders import reader
from read.encoders.kinds.clip import TINY, Clip, new_tiny_clip
from read.encoders.towers import frame_size
from read.errors import InputError

SENTENCES = ["a cat", "the camera pans left over the coffee", "Zürich, 8 Uhr!"]


@pytest.fixture(scope="module")
def clip():
    torch.manual_seed(0)
    return new_tiny_clip()


@pytest.fixture(scope="module")
def clips():
    return np.random.default_rng(0).integers(0, 255, (5, 16, 64, 64, 3), dtype=np.uint8)


def test_video_is_the_mean_over_frames_of_image_embeddings(clip, clips):
    features = clip.video(clips)
    assert features.shape == (5, clip.dim)
    assert features.dtype == np.float32
    images = (clips[3][[4, 12]].transpose(0, 3, 1, 2) / 255 - 0.5) / 0.5
    with torch.inference_mode():
        expected = clip.model.encode_image(torch.tensor(images, dtype=torch.float32)).mean(0)
    np.testing.assert_allclose(features[3], expected.numpy(), atol=1e-5)
    np.testing.assert_allclose(features, np.concatenate([clip.video(part) for part in np.split(clips, 5)]), atol=1e-5)


def test_text_holds_start_words_and_end(clip):
    features = clip.text(SENTENCES)
    tokenizer = open_clip.get_tokenizer(TINY)
    assert [len(rows) for rows in features] == [len(tokenizer.encode(sentence)) + 2 for sentence in SENTENCES]
    assert {rows.shape[1] for rows in features} == {clip.text_dim}
    assert {rows.dtype for rows in features} == {np.dtype(np.float32)}


def test_the_end_token_projects_to_the_text_embedding(clip):
    with torch.inference_mode():
        expected = clip.model.encode_text(clip.tokens(SENTENCES))
        ends = torch.tensor(np.stack([rows[-1] for rows in clip.text(SENTENCES)]))
        torch.testing.assert_close(ends @ clip.model.text_projection, expected, atol=1e-5, rtol=1e-4)


def test_sentences_are_what_open_clip_makes_of_them(clip, monkeypatch):
    monkeypatch.setattr(reader, "TEXT_BATCH", 2)
    found = clip.sentences(SENTENCES)
    with torch.inference_mode():
        expected = clip.model.encode_text(open_clip.get_tokenizer(TINY)(SENTENCES))
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-6)
    assert (found.dtype, found.shape) == (np.float32, (3, clip.dim)) and clip.joint
    assert clip.sentences([]).shape == (0, clip.dim)
    words, pooled = clip.read(SENTENCES)
    np.testing.assert_array_equal(pooled, found)
    for rows, sentence in zip(words, clip.text(SENTENCES), strict=True):
        np.testing.assert_array_equal(rows, sentence)
    with pytest.raises(InputError, match=r"\[0\] of 1 are empty"):
        clip.sentences([" "])


def test_a_sentence_does_not_depend_on_its_neighbours(clip):
    together = clip.text([*SENTENCES, "a b c " * 50])
    for rows, sentence in zip(together, SENTENCES, strict=False):
        np.testing.assert_allclose(rows, clip.text([sentence])[0], atol=1e-5)
    assert len(together[-1]) == 32, "cut to the context"


def test_empty_sentences_are_refused(clip):
    with pytest.raises(InputError, match=r"\[1\] of 2 are empty"):
        clip.text(["a", " "])


def test_same_input_same_bits(clip, clips):
    assert np.array_equal(clip.video(clips), clip.video(clips))


def test_round_trip(clip, clips, tmp_path):
    clip.save(tmp_path / "clip")
    loaded = Clip.load(tmp_path / "clip")
    assert loaded.identity == clip.identity
    assert np.array_equal(loaded.video(clips), clip.video(clips))
    assert np.array_equal(loaded.text(SENTENCES)[1], clip.text(SENTENCES)[1])


def test_public_checkpoint_by_path(clips, tmp_path):
    torch.manual_seed(7)
    model = open_clip.CLIP(**open_clip.get_model_config(TINY)).eval()
    torch.save({"state_dict": model.state_dict()}, tmp_path / "model.pt")
    clip = Clip.pretrained(TINY, tmp_path / "model.pt")
    assert clip.config["mean"] == list(open_clip.OPENAI_DATASET_MEAN), "open_clip's own normalisation"
    with torch.inference_mode():
        expected = model.encode_text(clip.tokens(SENTENCES))
        torch.testing.assert_close(clip.model.encode_text(clip.tokens(SENTENCES)), expected)
    clip.save(tmp_path / "clip")
    assert np.array_equal(Clip.load(tmp_path / "clip").video(clips), clip.video(clips))


def test_a_tag_decides_the_activation(monkeypatch):
    asked = {}

    def create_model(name, pretrained, force_quick_gelu):
        asked.update(name=name, pretrained=pretrained, force_quick_gelu=force_quick_gelu)
        raise OSError("no network")

    monkeypatch.setattr(open_clip, "create_model", create_model)
    with pytest.raises(InputError, match="'ViT-B-32': openai cannot be had: no network"):
        Clip.pretrained("ViT-B-32", "openai")
    assert asked == {"name": "ViT-B-32", "pretrained": "openai", "force_quick_gelu": True}


def test_what_cannot_be_had(tmp_path):
    with pytest.raises(InputError, match="no model 'ViT-X'"):
        Clip.pretrained("ViT-X", "openai")
    with pytest.raises(InputError, match="no_such_tag"):
        Clip.pretrained(TINY, "no_such_tag")
    torch.save({"a": torch.ones(1)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match=r"other\.pt"):
        Clip.pretrained(TINY, tmp_path / "other.pt")
    with pytest.raises(InputError, match="config"):
        Clip.load(tmp_path)


def test_frame_sizes():
    assert (frame_size(TINY), frame_size("ViT-B-32"), frame_size("ViT-L-14-336")) == (64, 224, 336)
    with pytest.raises(InputError, match="no model"):
        frame_size("ViT-X")


def test_every_token_has_a_label(clip):
    for sentence in ("a cat", "the unbelievably fluffy cat", "cat " * 60):
        assert len(clip.words(sentence)) == len(clip.text([sentence])[0])
