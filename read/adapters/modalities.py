"""What a decoder's tokens are in a video-language model: places of frames, or words, by the model's own token ids.

In such a model a call of the whole is given ids, some of which stand for what the pictures become, and the stack of
decoder layers below it sees embeddings only. Tokens of one place of successive frames are a sequence over time; all
words of a sample, those before and after and between its frames, are one sequence of words. All sequences run in the
order of the tokens, so that in a causal decoder no state sees a later token.

How long a frame is, the call tells: by `video_grid_thw` and the model's merging of patches (Qwen-VL), by the frames in
`pixel_values_videos` (LLaVA-NeXT-Video, LLaVA-OneVision); else a run of such ids is a frame, and runs of one length in
a row are a video (SmolVLM, InternVL, pictures one after the other, tiles of a large one as well).

Symbols: B samples, T tokens of a call, P places of a frame.
"""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from read.adapters.pictures import chains_of

KINDS = ("video", "image")  # of ids, and of grids, beside words
IGNORED = -100  # the label of what is not to be written


@dataclass(frozen=True, eq=False)
class Told:
    """What the tokens of a call are.

    Attributes:
        chains: (B, T) which sequence a token is of: b, the words of sample b, or from B on one place of one video.
        video: (B, T) True at tokens of frames.
        prompt: (B, T) True at words that are to be aligned: not padding, nothing that the model is to write, no mark
            of its own, no time stamp between frames.
    """

    chains: Tensor
    video: Tensor
    prompt: Tensor


def ids_of(module: nn.Module) -> dict[str, int]:
    """The ids that stand for frames and pictures, by kind, as the module's config names them; empty where none are."""
    config = getattr(module, "config", None)
    names = ((kind, f"{kind}_token_{end}") for kind in KINDS for end in ("id", "index"))
    found = {kind: getattr(config, name, None) for kind, name in names if isinstance(getattr(config, name, None), int)}
    return {kind: value for kind, value in found.items() if value is not None}


def tells(module: nn.Module) -> bool:
    """Whether calls of `module` say what the tokens are."""
    if hasattr(getattr(module, "config", None), "qformer_config"):
        return False  # the tokens stand for what was asked of a picture, not for places in it
    return "input_ids" in inspect.signature(module.forward).parameters and bool(ids_of(module))


def teller_of(model: nn.Module, stack: str) -> str | None:
    """The outermost module around a stack that reads embeddings whose calls say what its tokens are."""
    arguments = inspect.signature(model.get_submodule(stack).forward).parameters
    if not {"input_ids", "inputs_embeds"} <= arguments.keys():
        return None  # such as the layers of a tower that sees pictures
    paths = [stack[:end] for end, sign in enumerate(stack) if sign == "."]
    outer = ["", *paths] if stack else []
    return next((path for path in outer if tells(model.get_submodule(path))), None)


def told(module: Any, given: dict[str, Any], past: int) -> Told | None:
    """What the tokens of a call are; None where all are words.

    Args:
        module: of the call.
        given: its arguments by name.
        past: tokens that its cache holds.

    Raises:
        InputError: ids and what tells of frames do not go together, or frames may go on from a cache.
    """
    pictures = any(key.startswith("pixel_values") and value is not None for key, value in given.items())
    if not pictures and not given.get("mm_encoder_outputs"):
        return None  # an id that stands for a picture is a word that the model has written
    masks = dict(_masks(module, given))
    if not masks or not (torch.compiler.is_compiling() or any(bool(mask.any()) for mask in masks.values())):
        return None  # a graph does not know: to it, words are one sequence of a sample each
    side = getattr(getattr(module.config, "vision_config", None), "spatial_merge_size", 1)
    chains, inside = chains_of(masks, given, side, past, type(module).__name__)
    video = torch.stack(list(masks.values())).any(0)
    return Told(chains, video, _prompt(module, given, ~video & ~inside))


def _masks(module: Any, given: dict[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """Where the ids of each kind stand, (B, T); the model's own way where embeddings were given in their place."""
    ids, embedded = given.get("input_ids"), given.get("inputs_embeds")
    for kind, value in ids_of(module).items():
        if ids is not None:
            yield kind, ids == value
        elif embedded is not None:
            own = module.get_input_embeddings()(torch.tensor(value, device=embedded.device))
            yield kind, (embedded == own.to(embedded.dtype)).all(-1)


def _prompt(module: Any, given: dict[str, Any], words: Tensor) -> Tensor:
    """`words` without padding, marks and what is to be written."""
    mask, labels, ids = given.get("attention_mask"), given.get("labels"), given.get("input_ids")
    if isinstance(mask, Tensor) and mask.dim() == 2:
        words = words & (mask[:, -words.shape[1] :] != 0)
    if labels is not None:
        words = words & (labels == IGNORED)
    if ids is not None:
        configs = (module.config, getattr(module.config, "text_config", None))
        marks = [value for config in configs for value in _special(config)]
        words = words & ~torch.isin(ids, torch.tensor(marks, device=ids.device))
    return words


def _special(config: Any) -> Iterator[int]:
    """The ids that a config names."""
    for name, value in vars(config).items() if config is not None else ():
        if name.endswith(("_token_id", "_token_index")):
            yield from (part for part in (value if isinstance(value, list) else [value]) if isinstance(part, int))


def compact(tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Those of the tokens (B, T, r) where `mask` (B, T) is, in their order, as (B, N, r), and their mask (B, N)."""
    most = int(mask.sum(1).max())
    order = torch.argsort(~mask, dim=1, stable=True)[:, :most]
    return tokens.gather(1, order[..., None].expand(-1, -1, tokens.shape[2])), mask.gather(1, order)
