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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from read.errors import InputError

KINDS = ("video", "image")  # of ids, and of grids, beside words
IGNORED = -100  # the label of what is not to be written


@dataclass(frozen=True, eq=False)
class Told:
    """What the tokens of a call are.

    Attributes:
        chains: (B, T) which sequence a token is of: b, the words of sample b, or from B on one place of one video.
        count: of all sequences.
        video: (B, T) True at tokens of frames.
        prompt: (B, T) True at words that are to be aligned: not padding, nothing that the model is to write, no mark
            of its own, no time stamp between frames.
    """

    chains: Tensor
    count: int
    video: Tensor
    prompt: Tensor


@dataclass(frozen=True)
class _Video:
    """Frames of P places each, of one sample; `kept` tells which of their tokens the model has left, None: all."""

    sample: int
    frames: int
    places: int
    kept: Tensor | None = None


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
    masks = {kind: mask for kind, mask in _masks(module, given) if bool(mask.any())}
    if not masks:
        return None
    videos = {kind: list(_videos(module, kind, mask, given)) for kind, mask in masks.items()}
    if past and "image" in videos:
        raise InputError(
            "pictures in a call that goes on from a cache: a recurrence over them cannot tell whether they follow "
            "those before; give the whole conversation in one call, whose generation may be cached"
        )
    video = torch.stack(list(masks.values())).any(0)
    batch, length = video.shape
    chains = torch.arange(batch, device=video.device)[:, None].repeat(1, length)
    inside, count = torch.zeros_like(video), batch
    for kind, mask in masks.items():
        parts, numbers = [], []
        for number, (start, part) in enumerate(_numbered(videos[kind], count)):
            parts.append(part)
            numbers.append(torch.full_like(part, number))
            count = start + videos[kind][number].places
        chains[mask] = torch.cat(parts).to(video.device)
        inside |= _between(mask, torch.cat(numbers).to(video.device))
    return Told(chains, count, video, _prompt(module, given, ~video & ~inside))


def _masks(module: Any, given: dict[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """Where the ids of each kind stand, (B, T); the model's own way where embeddings were given in their place."""
    ids, embedded = given.get("input_ids"), given.get("inputs_embeds")
    for kind, value in ids_of(module).items():
        if ids is not None:
            yield kind, ids == value
        elif embedded is not None:
            own = module.get_input_embeddings()(torch.tensor(value, device=embedded.device))
            yield kind, (embedded == own.to(embedded.dtype)).all(-1)


def _videos(module: Any, kind: str, mask: Tensor, given: dict[str, Any]) -> Iterator[_Video]:
    """What the tokens of a kind are, in their order over the samples."""
    total, grid = int(mask.sum()), given.get(f"{kind}_grid_thw")
    if grid is not None:
        merges = given.get(f"{kind}_merge_sizes")
        whole = getattr(getattr(module.config, "vision_config", None), "spatial_merge_size", 1)
        each = [whole] * len(grid) if merges is None else merges.tolist()
        sizes = [(t, h * w // side**2) for (t, h, w), side in zip(grid.tolist(), each, strict=True)]
        kept = given.get(f"{kind}_compression_mask")
    elif kind == "video" and isinstance(values := given.get("pixel_values_videos"), Tensor) and values.dim() == 5:
        count, frames = values.shape[:2]
        places, more = divmod(total // count, frames)
        sizes, kept = [(frames, places)] * count, None
        if more:  # what ends a video (LLaVA-OneVision), a last frame of which the rest is left out
            sizes = [(frames + 1, places)] * count
            kept = (torch.arange((frames + 1) * places) < total // count).repeat(count)
    else:
        yield from _joined(_runs(mask))
        return
    tokens = [t * places for t, places in sizes]
    lost = [None] * len(sizes) if kept is None else kept.cpu().bool().split(tokens) if len(kept) == sum(tokens) else []
    left = [part if some is None else int(some.sum()) for part, some in zip(tokens, lost, strict=False)]
    if len(left) != len(sizes) or sum(left) != total:
        if kind == "image":  # frames of a video may stand as pictures, of which the grid does not tell
            yield from _joined(_runs(mask))
            return
        raise InputError(
            f"{type(module).__name__}: {total} tokens of {kind}s in input_ids, but what is told of their frames is of "
            f"{sum(left)}; give what the processor made of one batch"
        )
    samples = iter(_samples(mask, left))
    found = (_Video(next(samples), *size, some) for size, some in zip(sizes, lost, strict=True))
    yield from _joined(found) if kind == "image" else found


def _samples(mask: Tensor, lengths: list[int]) -> list[int]:
    """The sample that each of the runs of tokens begins in."""
    where = mask.nonzero()[:, 0].tolist()
    starts = [sum(lengths[:number]) for number in range(len(lengths))]
    return [where[start] if start < len(where) else 0 for start in starts]


def _runs(mask: Tensor) -> Iterator[_Video]:
    """Ids of one kind beside each other, as one frame each."""
    edges = torch.nn.functional.pad(mask.int(), (1, 1)).diff(dim=1)
    starts, stops = ((edges == sign).nonzero().tolist() for sign in (1, -1))
    for (sample, start), (_, stop) in zip(starts, stops, strict=True):
        yield _Video(sample, 1, stop - start)


def _joined(pictures: Iterable[_Video]) -> Iterator[_Video]:
    """Pictures of one size in a row, in one sample, are frames of one video."""
    before: _Video | None = None
    for picture in pictures:
        if before and (before.sample, before.places) == (picture.sample, picture.places) and picture.kept is None:
            before = _Video(before.sample, before.frames + picture.frames, before.places)
            continue
        if before:
            yield before
        before = picture
    if before:
        yield before


def _numbered(videos: Iterable[_Video], first: int) -> Iterator[tuple[int, Tensor]]:
    """The sequences of each video's tokens, with the number of its first place."""
    for video in videos:
        places = torch.arange(first, first + video.places).repeat(video.frames)
        yield first, places if video.kept is None else places[video.kept]
        first += video.places


def _between(mask: Tensor, numbers: Tensor) -> Tensor:
    """(B, T) True from the first token of a video to its last; `numbers` are the videos' of the tokens of `mask`."""
    samples, columns = mask.nonzero().T
    inside = torch.zeros_like(mask)
    for number in numbers.unique().tolist():
        own = columns[numbers == number]
        inside[samples[numbers == number][0], own[0] : own[-1] + 1] = True
    return inside


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
