"""The small BART and its byte-level tokenizer."""

import pytest
import torch

from read.backbones.summarization.small_bart import small_bart
from read.backbones.tokenizer import load_tokenizer, train_tokenizer
from read.backbones.visual_guidance import VisualGuidance
from read.errors import InputError

pytest.importorskip("transformers")
TEXTS = [f"the {animal} {verb} the {animal}" for animal in ("cat", "horse", "heron") for verb in ("meets", "leaves")]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, 300)


@pytest.mark.parametrize("text", ["the cat leaves", "Grüße, the  zebra . isn't\n ok 🦓 ", ""])
def test_any_text_comes_back(tokenizer, text):
    ids = tokenizer(text).input_ids
    assert ids[0] == tokenizer.bos_token_id and ids[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert max(ids) < len(tokenizer) <= 300


def test_frequent_words_become_tokens(tokenizer):
    assert tokenizer.tokenize("the horse meets") == ["the", "Ġhorse", "Ġmeets"]


def test_training_is_deterministic(tokenizer):
    again = train_tokenizer(iter(TEXTS), 300)
    assert again.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()


def test_it_is_saved_beside_its_model(tokenizer, tmp_path):
    torch.manual_seed(0)
    model = small_bart(len(tokenizer), 6, hidden=16, layers=1, heads=2, feed_forward=16)
    model.save(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    loaded, text = load_tokenizer(tmp_path / "model"), "a heron meets it"
    assert loaded(text).input_ids == tokenizer(text).input_ids and len(loaded) == len(tokenizer)
    assert loaded.pad_token_id == tokenizer.pad_token_id == model.seq2seq.config.pad_token_id
    assert loaded.decode(loaded(text).input_ids, skip_special_tokens=True) == text
    assert VisualGuidance.load(tmp_path / "model").digest() == model.digest()


def test_sizes_are_those_asked_for():
    sizes = {"hidden": 16, "layers": 3, "heads": 2, "feed_forward": 20, "dropout": 0.3, "positions": 40}
    model = small_bart(300, 6, **sizes, visual_layers=2)
    config, guide = model.seq2seq.config, model.config
    assert (config.d_model, config.vocab_size, config.max_position_embeddings) == (16, 300, 40)
    assert (config.encoder_layers, config.decoder_layers, config.encoder_ffn_dim, config.dropout) == (3, 3, 20, 0.3)
    assert (guide.video_dim, guide.visual_layers, guide.heads, guide.dropout) == (6, 2, 2, 0.3)
    assert not model.training


def test_bad_input_is_named(tmp_path):
    with pytest.raises(InputError, match="hidden 10 is no multiple of heads 4"):
        small_bart(300, 6, hidden=10)
    with pytest.raises(InputError, match="vocabulary of 3"):
        small_bart(3, 6)
    with pytest.raises(InputError, match="vocabulary of 100 is too small; it takes 260"):
        train_tokenizer(TEXTS, 100)
    with pytest.raises(InputError, match="no text"):
        train_tokenizer([""], 300)
    with pytest.raises(InputError, match="no such folder"):
        load_tokenizer(tmp_path / "absent")
    with pytest.raises(InputError, match="holds no tokenizer"):
        load_tokenizer(tmp_path)
