"""Models of open_clip that are not CLIP: each family small, against open_clip's own results, and without a hub."""

import json

import numpy as np
import open_clip
import pytest
import torch

from read.bundle import export
from read.bundle.shapes import check_encoder
from read.encoders.frames import write_video
from read.encoders.kinds.clip import Clip
from read.encoders.tokens import TENSOR, document
from read.encoders.towers import preprocessing
from read.errors import InputError
from read.files import write_json
from read.predictor import Predictor
from read.weights import load_tensors, save_tensors
from tests import bundles
from tests.encoders import hub

SENTENCES = ["a cat sits", "The dog, over the fence!", "rain " * 30]
SIDE = 32
_VISION = {"image_size": SIDE, "patch_size": 16, "width": 32, "head_width": 16, "layers": 2, "mlp_ratio": 2.0}
_TEXT = {"context_length": 12, "vocab_size": 90, "width": 16, "heads": 2, "layers": 2}
_CLIPS_OWN = _TEXT | {"vocab_size": 49408}
FAMILIES = {
    "siglip": (
        {"timm_model_name": "test_vit3", "timm_pool": "map", "timm_proj": "none", "image_size": 160},
        _TEXT | {"hf_tokenizer_name": "spm", "tokenizer_kwargs": {"clean": "canonicalize"}, "width": 16}
        | {"no_causal_mask": True, "proj_bias": True, "pool_type": "last"},
        {"custom_text": True, "embed_dim": 96, "init_logit_bias": -10},
    ),
    "mobileclip": (
        {"timm_model_name": "test_vit", "timm_pool": "avg", "timm_proj": None, "image_size": 160},
        _CLIPS_OWN | {"no_causal_mask": True}, {"custom_text": True},
    ),
    "coca": (
        _VISION | {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
        _CLIPS_OWN | {"embed_cls": True, "output_tokens": True},
        {"custom_text": True, "multimodal_cfg": _CLIPS_OWN | {"attn_pooler_heads": 2}},
    ),
    "clipa": (
        _VISION | {"no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": True},
        _TEXT | {"hf_tokenizer_name": "bert", "tokenizer_kwargs": {"strip_sep_token": True}}
        | {"pool_type": "last", "no_causal_mask": True}, {},
    ),
    "bert": (_VISION, {"hf_model_name": "bert-model", "hf_tokenizer_name": "bert", "context_length": 12}, {}),
    "mt5": (
        _VISION, {"hf_model_name": "mt5-model", "hf_tokenizer_name": "spm", "context_length": 12}
        | {"hf_proj_type": "linear", "hf_pooler_type": "mean_pooler"}, {},
    ),
    "resnet": (
        {"image_size": SIDE, "layers": [1, 1, 1, 1], "width": 16}, _CLIPS_OWN, {"quick_gelu": True},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """The hub's folders; a family's model, registered with open_clip, and its checkpoint."""
    root = tmp_path_factory.mktemp("hub")
    hub.sentencepiece_like(root / "spm")
    hub.bert_like(root / "bert")
    hub.text_model(root / "bert-model", "bert")
    hub.text_model(root / "mt5-model", "mt5")
    for name, (vision, text, rest) in FAMILIES.items():
        text = text | {
            key: str(root / value) for key, value in text.items() if key.startswith("hf_") and key[-4:] == "name"
        }
        write_json(root / f"tiny-{name}.json", {"embed_dim": 24, "vision_cfg": vision, "text_cfg": text, **rest})
        open_clip.add_model_config(root / f"tiny-{name}.json")
    return root


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, places):
    """A name, open_clip's model of it with random weights, and ours from its checkpoint."""
    name = f"tiny-{request.param}"
    torch.manual_seed(0)
    model = open_clip.create_model(name, pretrained_text=False).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    path = places / f"{name}.pt"
    torch.save({"state_dict": model.state_dict()}, path)
    return name, model, Clip.pretrained(name, path)


def pictures(count: int, side: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (count, 4, side, side, 3), dtype=np.uint8)


def states_of(model, tokens: torch.Tensor) -> torch.Tensor:
    """What the text transformer gave while open_clip encoded, after the last norm where that is apart."""
    tower = getattr(model, "text", model)
    kept = []
    hook = tower.transformer.register_forward_hook(lambda module, given, found: kept.append(found))
    with torch.inference_mode():
        model.encode_text(tokens)
        hook.remove()
        found = kept[0]
        return found.last_hidden_state if hasattr(found, "last_hidden_state") else tower.ln_final(found)


def test_pictures_and_sentences_are_what_open_clip_makes_of_them(family):
    name, model, clip = family
    clips = pictures(2, clip.wants.size)
    images = (torch.from_numpy(clips[:, [1, 3]]).movedim(-1, 2).float() / 255 - clip._mean) / clip._std
    tokens = open_clip.get_tokenizer(name)(SENTENCES)
    with torch.inference_mode():
        seen = torch.stack([model.encode_image(each, normalize=False).mean(0) for each in images])
        read = model.encode_text(tokens, normalize=False)
    np.testing.assert_allclose(clip.video(clips), seen, atol=2e-5)
    words, found = clip.read(SENTENCES)
    np.testing.assert_allclose(found, read, atol=2e-5)
    assert seen.std() > 1e-3 < read.std() and clip.dim == seen.shape[1] == read.shape[1]
    for row, states in zip(words, states_of(model, tokens), strict=True):
        assert row.dtype == np.float32 and row.shape[1] == clip.text_dim
        np.testing.assert_allclose(row, states[: len(row)], atol=2e-5)
    np.testing.assert_allclose(clip.text(SENTENCES[:1])[0], words[0], atol=2e-5)


def test_tokens_are_those_of_the_sentence_and_each_has_a_label(family):
    name, _, clip = family
    tokenizer = open_clip.get_tokenizer(name)
    for sentence, row in zip(SENTENCES, clip.text(SENTENCES), strict=True):
        if hasattr(tokenizer, "tokenizer"):
            wanted = len(tokenizer.tokenizer(tokenizer.clean_fn(sentence))["input_ids"])
            wanted = min(wanted, 12) - ("clipa" in name)
        else:
            wanted = min(len(tokenizer.encode(sentence)) + 2, 12)
        labels = clip.words(sentence)
        assert len(row) == len(labels) == wanted
    assert "cat" in "".join(clip.words("a cat sits"))


def test_it_comes_back_without_a_hub(family, places, tmp_path):
    _, _, clip = family
    clip.save(tmp_path / "kept")
    places.rename(places.with_name("away"))
    try:
        check_encoder("clip", tmp_path / "kept")
        loaded = Clip.load(tmp_path / "kept")
    finally:
        places.with_name("away").rename(places)
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["config.json", "model.safetensors"]
    assert loaded.identity == clip.identity == json.loads(json.dumps(clip.identity))
    clips = pictures(2, clip.wants.size)
    np.testing.assert_array_equal(loaded.video(clips), clip.video(clips))
    for one, other in zip(loaded.text(SENTENCES), clip.text(SENTENCES), strict=True):
        np.testing.assert_array_equal(one, other)
    assert loaded.words(SENTENCES[1]) == clip.words(SENTENCES[1])


def test_files_are_seen_as_the_published_weights_of_their_model():
    assert preprocessing("ViT-B-16-SigLIP2", "webli")["squash"] and not preprocessing("ViT-B-32", "openai")["squash"]
    assert preprocessing("ViT-B-16-SigLIP2", "mine.pt") == {"mean": (0.5,) * 3, "std": (0.5,) * 3, "squash": True}
    assert preprocessing("MobileCLIP-S2", "mine.pt")["mean"] == (0.0, 0.0, 0.0)
    assert preprocessing("ViT-H-14", "dfn5b")["squash"] and not preprocessing("ViT-H-14", "mine.pt")["squash"]


@pytest.mark.parametrize("family", ["siglip"], indirect=True)
def test_what_does_not_fit_or_cannot_be_had_is_one_message(places, family, tmp_path, monkeypatch):
    name, _, clip = family
    clip.save(tmp_path / "kept")
    state = load_tensors(tmp_path / "kept/model.safetensors")
    save_tensors({key: value for key, value in state.items() if key != TENSOR}, tmp_path / "kept/model.safetensors")
    with pytest.raises(InputError, match=r"model\.safetensors: lacks the tokenizer of tiny-siglip"):
        Clip.load(tmp_path / "kept")
    save_tensors(state | {TENSOR: torch.zeros(4, dtype=torch.uint8)}, tmp_path / "kept/model.safetensors")
    for use in (Clip.load, lambda folder: check_encoder("clip", folder)):
        with pytest.raises(InputError, match=r"tokenizer\.json: no "):
            use(tmp_path / "kept")
    grows = document(state[TENSOR]) | {"normalizer": {"type": "Prepend", "prepend": "x" * 5000}}
    content = torch.tensor([*json.dumps(grows).encode()], dtype=torch.uint8)
    save_tensors(state | {TENSOR: content}, tmp_path / "kept/model.safetensors")
    with pytest.raises(InputError, match=r"tokenizer\.json: normalizer holds a text of 5000 characters"):
        check_encoder("clip", tmp_path / "kept")
    save_tensors(state | {"text.positional_embedding": torch.zeros(3, 16)}, tmp_path / "kept/model.safetensors")
    for use in (Clip.load, lambda folder: check_encoder("clip", folder)):
        with pytest.raises(InputError, match=r"other shapes: text\.positional_embedding \(3, 16\), not \(12, 16\)"):
            use(tmp_path / "kept")
    monkeypatch.setattr(open_clip, "get_tokenizer", lambda name: (_ for _ in ()).throw(OSError("no connection")))
    with pytest.raises(InputError, match="'tiny-siglip': its tokenizer cannot be had: no connection"):
        Clip.pretrained(name, places / f"{name}.pt")


@pytest.mark.video
@pytest.mark.parametrize("family", ["siglip"], indirect=True)
def test_a_bundle_needs_no_hub(family, places, tmp_path, monkeypatch):
    """From a file to moments, beside an encoder that sees other pictures, and with sentences in the joint space."""
    _, _, clip = family
    squashing = clip.config | {"squash": True}
    monkeypatch.setattr(bundles, "new_tiny_clip", lambda: Clip(clip.model, squashing, tokenizer=clip._tokenizer))
    workspace = bundles.make_workspace(tmp_path / "workspace")
    packed = export([bundles.folder_of(workspace, "read/k2-s0")], tmp_path / "bundle").folder
    write_video(tmp_path / "a.mp4", pictures(1, 96)[0].repeat(12, 0), 8)
    monkeypatch.setattr(open_clip, "get_tokenizer", None)
    places.rename(places.with_name("away"))
    try:
        predictor = Predictor.from_bundle(packed, "cpu")
        assert predictor.encode(tmp_path / "a.mp4").moments("a cat")
    finally:
        places.with_name("away").rename(places)
    spec, extractor = predictor.bundle.features, predictor.extractor
    assert spec["joint"] == "clip" and spec["views"]["clip"] == {"size": 160, "squash": True, "short": 0}
    np.testing.assert_array_equal(extractor.sentences(["a cat"]), clip.sentences(["a cat"]))
    wide = extractor.video(tmp_path / "a.mp4").arrays
    assert {name: rows.shape for name, rows in wide.items()} == {"clip": (3, 96), "slowfast": (3, 512)}
