"""CLAP: what transformers gives when it is called directly, kept without a hub."""

import numpy as np
import pytest
import torch
from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

from read.backbones.tokenizer import train_tokenizer
from read.bundle.shapes import check_encoder
from read.encoders.base import Material, first_reader, joint_entry
from read.encoders.kinds.clap import Clap
from read.errors import InputError
from read.files import read_json, write_json

SENTENCES = ["a dog barks at the rain", "rain", "the bell of a far church rings three times"]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(SENTENCES, 400)


@pytest.fixture(scope="module", params=[False, True], ids=["unfused", "fused"])
def folder(request, tmp_path_factory, tokenizer):
    folder = tmp_path_factory.mktemp("clap") / "tiny"
    torch.manual_seed(0)
    text = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    audio = {
        "depths": [1, 1], "num_attention_heads": [2, 2], "patch_embeds_hidden_size": 8, "hidden_size": 16,
        "window_size": 4, "spec_size": 64, "num_mel_bins": 16, "patch_size": 4, "patch_stride": [4, 4],
        "enable_fusion": request.param,
    }  # fmt: skip
    ids = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    config = ClapConfig(
        text_config=text | ids | {"vocab_size": len(tokenizer), "max_position_embeddings": 14},
        audio_config=audio, projection_dim=8,
    )  # fmt: skip
    ClapModel(config).save_pretrained(folder)
    truncation = "fusion" if request.param else "rand_trunc"
    ClapFeatureExtractor(
        feature_size=16, sampling_rate=8000, hop_length=80, max_length_s=2, fft_window_size=256, frequency_max=4000,
        truncation=truncation,
    ).save_pretrained(folder)  # fmt: skip
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def waves():
    return np.random.default_rng(0).normal(size=(3, 10000)).astype(np.float32) * np.array([[0.1], [0.5], [0]], "f4")


@pytest.fixture(scope="module")
def clap(folder):
    return Clap.make({"model": str(folder)}, Material(None, 16, folder, "cpu", None))


def test_sound_is_as_transformers_has_it(clap, folder, waves):
    listener, model = ClapFeatureExtractor.from_pretrained(folder), ClapModel.from_pretrained(folder).eval()
    heard = listener([*waves], sampling_rate=8000, return_tensors="pt")
    heard["is_longer"][:] = False  # it draws one, where none is
    with torch.no_grad():
        wanted = model.get_audio_features(**heard).pooler_output.numpy()
    np.testing.assert_allclose(clap.sound(waves), wanted, atol=1e-6)
    np.testing.assert_array_equal(clap.sound(waves), clap.sound(waves))
    np.testing.assert_allclose(clap.sound(waves[1:2]), wanted[1:2], atol=1e-6)
    assert wanted.shape == (3, clap.dim) and clap.hears == (8000, 0, 2)


def test_tokens_are_as_transformers_has_them(clap, folder, tokenizer):
    found = clap.text(SENTENCES)
    model = ClapModel.from_pretrained(folder).eval()
    for sentence, rows in zip(SENTENCES, found, strict=True):
        ids = tokenizer(sentence, return_tensors="pt", truncation=True, max_length=12)
        with torch.no_grad():
            wanted = model.text_model(**ids).last_hidden_state[0].numpy()
        np.testing.assert_allclose(rows, wanted, atol=1e-5)
        assert len(clap.words(sentence)) == len(rows) <= 12 and rows.shape[1] == clap.text_dim
    with pytest.raises(InputError, match=r"sentences \[1\] of 2 are empty"):
        clap.text(["rain", " "])


def test_round_trip_without_the_folder(clap, waves, tmp_path):
    clap.save(tmp_path / "clap")
    loaded = Clap.load(tmp_path / "clap")
    assert loaded.identity == clap.identity
    np.testing.assert_array_equal(loaded.sound(waves), clap.sound(waves))
    for one, other in zip(loaded.text(SENTENCES), clap.text(SENTENCES), strict=True):
        np.testing.assert_array_equal(one, other)
    assert loaded.words("rain") == clap.words("rain")
    check_encoder("clap", tmp_path / "clap")
    config = read_json(tmp_path / "clap/config.json")
    write_json(tmp_path / "clap/config.json", config | {"listener": config["listener"] | {"max_length_s": 10**6}})
    with pytest.raises(InputError, match=r"listener\.max_length_s is 1000000"):
        check_encoder("clap", tmp_path / "clap")


def test_its_space_is_not_that_of_pictures():
    listed = {"clap": {}, "clip": {}}
    assert first_reader(listed) == "clap" and joint_entry(listed) is None
    assert joint_entry({"clip": {}, "clap": {}}) == "clip"
