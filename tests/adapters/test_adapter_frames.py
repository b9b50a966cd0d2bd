"""Recurrences over videos: from frame to frame at one place of the picture, however a tower lays its tokens out."""

import pytest
import torch

from read.adapters import AdapterConfig, inject
from tests.adapters import zoo

pytest.importorskip("transformers")
SIDE, PATCH, PLACES = 16, 8, 4

# What feeds a tower, the layer that is looked at, frames that are one moment, and tokens that are no picture's.
TOWERS = {
    "videomae": ("encoder.layer.0", 2, 0),
    "vjepa2": ("encoder.layer.0", 2, 0),
    "vivit": ("layers.0", 2, 1),
    "timesformer": ("encoder.layer.0", 1, 1),
    "xclip": ("vision_model.encoder.layers.0", 1, 0),
    "qwen2_vl": ("model.visual.blocks.0", 2, 0),
    "qwen2_5_vl": ("model.visual.blocks.0", 2, 0),
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


@pytest.mark.parametrize("name", TOWERS)
def test_one_place_of_successive_frames_is_a_sequence(name):
    model, inputs = zoo.make(name), zoo.feed(name)
    layer, length, others = TOWERS[name]
    key = next(key for key in inputs if key.startswith("pixel_values"))
    moments = 4 // length if inputs[key].dim() > 2 else 2
    sequences = {
        tuple(touched(model, layer, inputs, key, moment, place, length) for moment in range(moments))
        for place in range(PLACES)
    }
    inject(model, AdapterConfig(mixer="gru", bottleneck=4, after="feed_forward"))
    place = next(iter(p for p in model.adapters.places.values() if p.name.startswith(layer)))
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
