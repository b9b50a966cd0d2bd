"""AST: what transformers gives when it is called directly, kept without a hub."""

import numpy as np
import pytest
import torch
from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification, ASTModel, ViTConfig, ViTModel

from read.bundle.shapes import check_encoder
from read.encoders.base import Material, check_sound
from read.encoders.kinds.ast import AST
from read.errors import InputError
from read.files import read_json, write_json


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """As the hub has it: with a classifier."""
    folder = tmp_path_factory.mktemp("ast") / "tiny"
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    ASTForAudioClassification(ASTConfig(**sizes, max_length=300, num_mel_bins=32)).save_pretrained(folder)
    ASTFeatureExtractor(max_length=300, num_mel_bins=32, mean=-3.0, std=2.5).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def waves():
    return np.random.default_rng(0).normal(size=(3, 32000)).astype(np.float32) * np.array([[0.1], [0.5], [0]], "f4")


def make(source, room):
    return AST.make({"model": str(source)}, Material(None, 16, room, "cpu", None))


def test_features_are_those_of_transformers(folder, waves, tmp_path):
    encoder = make(folder, tmp_path)
    listener, model = ASTFeatureExtractor.from_pretrained(folder), ASTModel.from_pretrained(folder).eval()
    with torch.no_grad():
        wanted = model(**listener(list(waves), sampling_rate=16000, return_tensors="pt")).pooler_output.numpy()
    np.testing.assert_allclose(encoder.sound(waves), wanted, atol=1e-6)
    assert wanted.shape == (3, encoder.dim) and encoder.hears == (16000, 0.025, 3.0)


def test_round_trip_without_the_folder(folder, waves, tmp_path):
    encoder = make(folder, tmp_path)
    encoder.save(tmp_path / "ast")
    loaded = AST.load(tmp_path / "ast")
    assert loaded.identity == encoder.identity and encoder.config["name"] == "tiny"
    np.testing.assert_array_equal(loaded.sound(waves), encoder.sound(waves))
    check_encoder("ast", tmp_path / "ast")
    config = read_json(tmp_path / "ast/config.json")
    for key, value in (("num_hidden_layers", 99), ("hidden_size", 10**9)):
        write_json(tmp_path / "ast/config.json", config | {"model": config["model"] | {key: value}})
        with pytest.raises(InputError, match=r"ast.(config\.json|model\.safetensors)"):
            check_encoder("ast", tmp_path / "ast")
    (tmp_path / "ast/config.json").write_text("{}")
    with pytest.raises(InputError, match=r"config\.json: .*model"):
        AST.load(tmp_path / "ast")


def test_what_is_no_ast_is_refused(folder, tmp_path):
    with pytest.raises(InputError, match="absent: no ASTModel can be read here"):
        make(tmp_path / "absent", tmp_path)
    ViTModel(
        ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    ).save_pretrained(tmp_path / "vit")
    with pytest.raises(InputError, match=r"vit: .*ASTModel"):
        make(tmp_path / "vit", tmp_path)


def test_clips_that_it_would_not_hear_whole_are_refused(folder, tmp_path):
    hears = make(folder, tmp_path).hears
    check_sound({"ast": hears}, 2.0)
    with pytest.raises(InputError, match="encoder ast hears clips of at most 3 s, but clip_len is 4 s"):
        check_sound({"ast": hears}, 4.0)
    with pytest.raises(InputError, match=r"hears clips of 0\.025 s or more, but clip_len is 0\.01 s"):
        check_sound({"ast": hears}, 0.01)
