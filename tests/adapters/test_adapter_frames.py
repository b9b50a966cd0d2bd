"""Recurrences over videos: from frame to frame at one place of the picture, however a tower lays its tokens out."""

import pytest
import torch

from read.adapters import AdapterConfig, inject
from tests.adapters import zoo

pytest.importorskip("transformers")
SIDE, PATCH, PLACES = 16, 8, 4

# The module whose input is looked at, the place whose tokens stand as there ("": its feed-forward block),
# frames that are one moment, and tokens that are no picture's.
TOWERS = {
    "videomae": ("encoder.layer.0", "", 2, 0),
    "vjepa2": ("encoder.layer.0", "", 2, 0),
    "vivit": ("layers.0", "", 2, 1),
    "timesformer": ("encoder.layer.0", "", 1, 1),
    "timesformer, over time": ("encoder.layer.0.temporal_attention", "encoder.layer.0.temporal_dense", 1, 0),
    "timesformer, over places": ("encoder.layer.0.attention", "encoder.layer.0.attention", 1, 0),
    "timesformer, frame by frame": ("encoder.layer.0", "", 1, 0),
    "xclip": ("vision_model.encoder.layers.0", "", 1, 0),
    "qwen2_vl": ("model.visual.blocks.0", "", 2, 0),
    "qwen2_5_vl": ("model.visual.blocks.0", "", 2, 0),
}
# Frames, bands and size of a patch, and tokens that are no sound's.
SOUNDS = {
    "ast": ("layers.0", (32, 16), 8, 2),
    "clap": ("audio_model.audio_encoder.layers.0.blocks.0", (64, 16), 4, 0),
}


def tower_input(model, layer, inputs):
    """What the tokens are before the first layer, (all samples' tokens, d)."""
    seen = []
    hook = lambda module, args, kwargs: seen.append(args[0] if args else kwargs["hidden_states"])  # noqa: E731
    handle = model.get_submodule(layer).register_forward_pre_hook(hook, with_kwargs=True)
    with torch.no_grad():
        model(**inputs)
    handle.remove()
    return seen[0].flatten(0, -2)


def touched(model, layer, inputs, key, moment, place, length):
    """The tokens that change where a patch does, for some frames and in the first sample."""
    changed = inputs | {key: inputs[key].clone()}
    if inputs[key].dim() == 2:  # patches of Qwen-VL's processor, by moment, row and column in blocks of 2 x 2
        changed[key][moment * PLACES + place] += 1
    else:
        row, column = (PATCH * part for part in divmod(place, SIDE // PATCH))
        frames = slice(moment * length, (moment + 1) * length)
        changed[key][0, frames, :, row : row + PATCH, column : column + PATCH] += 1
    moved = (tower_input(model, layer, inputs) != tower_input(model, layer, changed)).any(1)
    (token,) = moved.nonzero()[:, 0].tolist()
    return token


def check_sequences(model, inputs, layer, place, sequences, others):
    """That the tokens at a place are dealt out to rows in these sequences, and others by themselves."""
    inject(model, AdapterConfig(mixer="gru", bottleneck=4, after=("feed_forward", "attention")))
    places = model.adapters.places.values()
    (place, *_) = [p for p in places if p.name == place] or [
        p for p in places if p.kind == "feed_forward" and p.name.startswith(layer)
    ]
    bottleneck = model.adapters["default"][model.adapters.keys_of["default"][place.key]]
    seen = []
    bottleneck.register_forward_pre_hook(lambda module, args: seen.append(args[:2]))
    with torch.no_grad():
        model(**inputs)
    (tokens, layout) = seen[0]
    rows = {tuple(row[:count].tolist()) for row, count in zip(layout.source, layout.lengths, strict=True)}
    assert sequences < rows or sequences == rows
    flat = tokens.flatten(0, 1)
    assert torch.equal(layout.gather(layout.deal(tokens)).flatten(0, 1), flat)
    assert sorted(token for row in rows for token in row) == list(range(len(flat)))
    assert sum(len(row) == 1 for row in rows) == others * len(tokens)


def make(name):
    """A model, and inputs for it."""
    name, _, way = name.partition(", ")
    model, inputs = zoo.make(name), zoo.feed(name)
    if name == "timesformer":
        if way == "frame by frame":
            config = model.config.__class__(**zoo.ZOO[name].settings, attention_type="space_only")
            model = model.__class__(config).eval()
        for key, value in model.named_parameters():
            if "temporal_dense" in key:  # so that a patch stays where it is
                torch.nn.init.zeros_(value)
    return model, inputs


@pytest.mark.parametrize("name", TOWERS)
def test_one_place_of_successive_frames_is_a_sequence(name):
    model, inputs = make(name)
    layer, place, length, others = TOWERS[name]
    key = next(key for key in inputs if key.startswith("pixel_values"))
    moments = 4 // length if inputs[key].dim() > 2 else 2
    sequences = {
        tuple(touched(model, layer, inputs, key, moment, at, length) for moment in range(moments))
        for at in range(PLACES)
    }
    check_sequences(model, inputs, layer, place, sequences, others)


@pytest.mark.parametrize("name", SOUNDS)
def test_one_band_of_a_sound_is_a_sequence_over_time(name):
    model, inputs = zoo.make(name), zoo.feed(name)
    layer, (frames, bands), patch, others = SOUNDS[name]
    key = next(key for key in inputs if key.startswith("input_") and inputs[key].is_floating_point())
    inputs[key] = torch.randn(*inputs[key].shape[:-2], frames, bands)
    before, sequences = tower_input(model, layer, inputs), set()
    for band in range(0, bands, patch):
        row = []
        for start in range(0, frames, patch):
            changed = inputs | {key: inputs[key].clone()}
            changed[key][0, ..., start : start + patch, band : band + patch] += 1
            (token,) = (tower_input(model, layer, changed) != before).any(1).nonzero()[:, 0].tolist()
            row.append(token)
        sequences.add(tuple(row))
    check_sequences(model, inputs, layer, "", sequences, others)
