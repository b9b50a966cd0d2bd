"""The recipe behind the reference files: weights and a padded batch that any machine reproduces.

The public code was given these weights and this batch; what it computed stands in `<backbone>_reference.json`.
"""

import math

import torch

SIZES = {"video_dim": 6, "text_dim": 5, "hidden": 16, "layers": 2, "heads": 2, "feed_forward": 24}
QUIET = {"input_dropout": 0.0, "drop_path": 0.0}
LENGTHS, WORDS = (7, 4, 5), (3, 6, 2)
CHIRP = 0.37  # of the weights of models that predict a set of moments
INPUTS = ("video", "video_mask", "text", "text_mask")
PAIRS = {  # of the saliency loss of models that predict a set of moments: hard, easy
    "positive": torch.tensor([[2, 1], [2, 3], [2, 2]]),
    "negative": torch.tensor([[1, 6], [1, 0], [1, 4]]),
}


def wave(shape: tuple[int, ...], phase: float, chirp: float = 0.0) -> torch.Tensor:
    """Numbers in [-1, 1] that any machine reproduces; with a chirp, matrices are of full rank."""
    index = torch.arange(math.prod(shape), dtype=torch.float64)
    return torch.sin((1.7 + chirp * index) * index + phase).float().reshape(shape)


def recipe(state: dict[str, torch.Tensor], chirp: float = 0.0) -> dict[str, torch.Tensor]:
    """The weights behind the reference files, by the keys in sorted order."""
    weights = {
        key: 0.3 * wave(tuple(value.shape), index, chirp) for index, (key, value) in enumerate(sorted(state.items()))
    }
    scales = {key for key in weights if "norm" in key.lower() and key.endswith("weight")}
    return {key: value + (key in scales) for key, value in weights.items()}


def reference_batch(lengths: tuple[int, ...] = WORDS) -> dict[str, torch.Tensor]:
    """A padded batch of queries with `lengths` words.

    In every sample the clips 1 to 3 are foreground, the second of them is the most salient; the second sample has one
    window, the others have two.
    """
    samples, clips, words = len(LENGTHS), max(LENGTHS), max(WORDS)
    video_mask = torch.arange(clips)[None] < torch.tensor(LENGTHS)[:, None]
    text_mask = torch.arange(words)[None] < torch.tensor(lengths)[:, None]
    spans = torch.tensor([[1 / length, 4 / length] for length in LENGTHS])
    foreground, saliency = torch.zeros(samples, clips), torch.zeros(samples, clips)
    foreground[:, 1:4] = 1
    saliency[:, 1:4] = torch.tensor([0.5, 1.0, 0.75])
    return {
        "video": wave((samples, clips, SIZES["video_dim"]), 0.3) * video_mask[..., None],
        "video_mask": video_mask,
        "text": wave((samples, words, SIZES["text_dim"]), 0.9) * text_mask[..., None],
        "text_mask": text_mask,
        "foreground": foreground,
        "spans": spans[:, None] * foreground[..., None],
        "saliency": saliency,
        "relevant": saliency > 0,
        "windows": torch.stack((spans, torch.tensor([[5 / 7, 6 / 7], [0, 0], [0, 1 / 5]])), dim=1),
        "windows_mask": torch.tensor([[True, True], [True, False], [True, True]]),
        "positive": torch.tensor([2, 3, 1]),
    }
