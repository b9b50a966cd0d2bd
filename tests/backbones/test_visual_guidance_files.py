"""Text models that see a video: files, and what is refused."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from pipeline.tasks.summarization import public_tokenizer
from read.backbones.visual_guidance import VisualGuidance, VisualGuidanceConfig
from read.errors import InputError
from tests.backbones.guided import KINDS, hf, logits, make, make_batch, make_text, wake, without


@pytest.mark.parametrize("kind", KINDS)
def test_save_and_load(kind, tmp_path):
    batch, model = make_batch(), make(kind, visual_layers=1, layer=0, fusion="dot")
    model.seq2seq.generation_config.num_beams = 3
    model.save(tmp_path / "model")
    loaded = VisualGuidance.load(tmp_path / "model")
    assert loaded.config == model.config and loaded.digest() == model.digest() and not loaded.training
    assert torch.equal(logits(loaded, batch), logits(model, batch))
    assert loaded.seq2seq.generation_config.num_beams == 3
    assert {file.name for file in (tmp_path / "model").iterdir()} == {"config.json", "model.safetensors"}
    embeddings = [key for key, value in load_file(tmp_path / "model/model.safetensors").items() if len(value) == 60]
    assert len(embeddings) == 1  # tied weights are written once
    assert loaded.seq2seq.lm_head.weight is loaded.seq2seq.get_input_embeddings().weight
    wake(loaded, [loaded.guide.fusion.norm.weight])
    assert loaded.digest() != model.digest()


def test_save_and_load_in_bf16(tmp_path):
    model = make().bfloat16()
    model.save(tmp_path / "model")
    assert VisualGuidance.load(tmp_path / "model").digest() == model.digest()


def test_loading_is_strict(tmp_path):
    make().save(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    broken = weights | {"extra": torch.zeros(1), "guide.fusion.norm.bias": torch.zeros(3)}
    del broken["guide.fusion.out.weight"]
    save_file(broken, tmp_path / "model.safetensors")
    with pytest.raises(InputError) as caught:
        VisualGuidance.load(tmp_path)
    for part in ("missing keys: guide.fusion.out.weight", "unexpected keys: extra", "norm.bias (3,), not (16,)"):
        assert part in str(caught.value)
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(InputError, match="not a file of safetensors"):
        VisualGuidance.load(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(settings | {"model": "univtg"}))
    with pytest.raises(InputError, match="visual_guidance"):
        VisualGuidance.load(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"model\.safetensors: no such file"):
        VisualGuidance.load(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_from_a_local_folder(kind, tmp_path):
    batch, text = make_batch(), make_text(kind)
    text.save_pretrained(tmp_path)
    model = VisualGuidance.from_pretrained(tmp_path, video_dim=6, heads=2, visual_layers=1)
    assert not model.training and model.config.visual_layers == 1
    assert torch.equal(logits(model, batch), logits(text, without(batch, "video", "video_mask")))


def test_from_pretrained_refuses_what_it_does_not_know(tmp_path):
    with pytest.raises(InputError, match=r"no setting fuson; it has .*fusion"):
        VisualGuidance.from_pretrained(tmp_path, video_dim=6, fuson="dot")
    with pytest.raises(InputError, match="video_dim is missing"):
        VisualGuidance.from_pretrained(tmp_path)
    with pytest.raises(InputError, match="no sequence-to-sequence model"):
        VisualGuidance.from_pretrained(tmp_path, video_dim=6)


def test_a_config_names_all_fields_at_fault():
    with pytest.raises(InputError) as caught:
        VisualGuidanceConfig(
            video_dim=0, layer="last", fusion="sum", gate=1, visual_layers=-1, heads=True, dropout=1.0, max_steps=2.5
        )
    names = ("video_dim", "layer", "fusion", "gate", "visual_layers", "heads", "dropout", "max_steps")
    assert all(f"{name} is " in str(caught.value) for name in names)


def test_a_model_that_does_not_fit_is_refused():
    with pytest.raises(InputError, match="layer is 2, but the encoder has 2 layers"):
        make(layer=2)
    with pytest.raises(InputError, match="heads 3: the width 16"):
        make(heads=3)
    make(heads=3, fusion="dot")  # which has no heads
    with pytest.raises(InputError, match="Linear: has no encoder"):
        VisualGuidance(nn.Linear(3, 3), VisualGuidanceConfig(video_dim=6))
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    with pytest.raises(InputError, match="BertModel: has no encoder whose layers"):
        VisualGuidance(hf.BertModel(hf.BertConfig(vocab_size=60, **sizes)), VisualGuidanceConfig(video_dim=6))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"video": torch.zeros(3, 6, 5)}, r"video: its shape is \(3, 6, 5\), but must be \(B, N, 6\)"),
        ({"video": torch.zeros(3, 6)}, "video: its shape"),
        ({"video_mask": torch.ones(3, 5)}, r"video_mask: its shape is \(3, 5\), but must be \(3, 6\)"),
        ({"video": torch.zeros(2, 6, 6), "video_mask": None}, "video: is of 2 samples, but the words are of 3"),
        ({"encoder_outputs": (torch.zeros(3, 9, 16),)}, "encoder_outputs are of an encoder that has run"),
    ],
)
def test_bad_input_is_refused_and_forgotten(given, message):
    batch, model = make_batch(), make()
    for call in (model, model.generate):
        with pytest.raises(InputError, match=message):
            call(**without(batch, "labels") | given)
    plain = logits(model.seq2seq, without(batch, "video", "video_mask"))
    assert torch.equal(logits(model, without(batch, "video", "video_mask")), plain)


def test_the_module_imports_without_transformers():
    code = (
        "import sys; sys.modules['transformers'] = None\n"
        "from read.backbones.visual_guidance import VisualGuidance, VisualGuidanceConfig; print('fine')"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "fine\n"


def test_a_revision_of_the_hub_is_asked_for(tmp_path, monkeypatch):
    """After an @, but not where a folder has one in its name."""
    asked = []

    def load(pretrained_model_name_or_path, **options):
        asked.append((pretrained_model_name_or_path, options.get("revision")))
        raise OSError("no net")

    monkeypatch.setattr("transformers.AutoModelForSeq2SeqLM.from_pretrained", load)
    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", load)
    folder = tmp_path / "mine@home"
    folder.mkdir()
    for name in ("facebook/bart-base@0123abc", "facebook/bart-base", str(folder)):
        with pytest.raises(InputError, match="no net"):
            VisualGuidance.from_pretrained(name, video_dim=6)
    with pytest.raises(InputError, match="no net"):
        public_tokenizer("facebook/bart-base@0123abc")
    pinned = ("facebook/bart-base", "0123abc")
    assert asked == [pinned, ("facebook/bart-base", None), (str(folder), None), pinned]
