"""Text models of transformers that see a video, narrow and random, and a padded batch for them."""

import pytest
import torch

from read.backbones.visual_guidance import VisualGuidance, VisualGuidanceConfig

hf = pytest.importorskip("transformers")
KINDS = ["Bart", "Pegasus", "T5"]
LENGTHS, STEPS = (9, 5, 2), (6, 4, 1)  # real words and real steps of three samples
BLIND = {
    "no video": {"video": None, "video_mask": None},
    "no steps": {"video": torch.zeros(3, 0, 6), "video_mask": None},
    "all masked": {"video_mask": torch.zeros(3, 6, dtype=torch.bool)},
}


def make_text(kind, **settings):
    torch.manual_seed(0)
    words = {"vocab_size": 60, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    if kind == "T5":
        sizes = {"d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2, "decoder_start_token_id": 1}
    else:
        sizes = {f"{side}_{key}": value for side in ("encoder", "decoder")
                 for key, value in (("layers", 2), ("attention_heads", 2), ("ffn_dim", 24))}  # fmt: skip
        sizes |= {"max_position_embeddings": 64, "decoder_start_token_id": 2, "forced_eos_token_id": None}
        sizes |= {"init_std": 0.4}
    config = getattr(hf, f"{kind}Config")(**words, **sizes | {"d_model": 16} | settings)
    return getattr(hf, f"{kind}ForConditionalGeneration")(config).eval()


def make(kind="Bart", awake=True, **settings):
    """A model whose guide is as if trained, unless told otherwise."""
    text = make_text(kind)
    model = VisualGuidance(text, VisualGuidanceConfig(**{"video_dim": 6, "heads": 2} | settings)).eval()
    return wake(model, model.guide.parameters()) if awake else model


def wake(model, parameters=None, scale=0.4):
    generator = torch.Generator().manual_seed(3)
    parameters = [p for p in model.parameters() if p.requires_grad] if parameters is None else parameters
    with torch.no_grad():
        for parameter in parameters:
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator).to(parameter.dtype))
    return model


def make_batch():
    generator = torch.Generator().manual_seed(1)
    words = torch.randint(3, 60, (3, 9), generator=generator)
    mask = (torch.arange(9) < torch.tensor(LENGTHS)[:, None]).long()
    return {
        "video": torch.randn(3, 6, 6, generator=generator),
        "video_mask": torch.arange(6) < torch.tensor(STEPS)[:, None],
        "input_ids": words.masked_fill(mask == 0, 1),
        "attention_mask": mask,
        "labels": torch.randint(3, 60, (3, 7), generator=generator),
    }


def alone(batch, i):
    """Sample `i` without its padding."""
    sample = {key: value[i : i + 1] for key, value in batch.items()}
    sample |= {key: sample[key][:, : STEPS[i]] for key in ("video", "video_mask")}
    return sample | {key: sample[key][:, : LENGTHS[i]] for key in ("input_ids", "attention_mask")}


def logits(model, batch):
    with torch.no_grad():
        return model(**batch).logits


def without(batch, *names):
    return {key: value for key, value in batch.items() if key not in names}


def stacks(model):
    inside = (model.seq2seq.get_encoder(), model.seq2seq.get_decoder())
    return [name for name, module in model.named_modules() if module in inside]
