"""Which tokens of frames and pictures are a sequence over time: those of one place of one video.

How long frames are is in the values of what a call is given. So in a graph of torch.compile reading them is one node.
Symbols: B samples, T tokens of a call, P places of a frame.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from read.errors import InputError

FACTS = ("grid_thw", "merge_sizes", "compression_mask")  # arguments that tell of a kind of pictures


@dataclass(frozen=True)
class _Video:
    """Frames of P places each, of one sample; `kept` tells which of their tokens the model has left, None: all."""

    sample: int
    frames: int
    places: int
    kept: Tensor | None = None


def chains_of(
    masks: dict[str, Tensor], given: dict[str, Any], side: int, past: int, name: str
) -> tuple[Tensor, Tensor]:
    """The sequence that each token is of, (B, T), as `Told.chains`, and True from a video's first token to its last.

    Args:
        masks: (B, T) where tokens of each kind are.
        given: arguments of the call by name.
        side: patches that the model merges, per side.
        past: tokens that its cache holds.
        name: what an error is about.

    Raises:
        InputError: ids and what tells of frames do not go together, or frames may go on from a cache.
    """
    facts = [given.get(f"{kind}_{end}") for kind in masks for end in FACTS]
    values = given.get("pixel_values_videos")
    clips = list(values.shape[:2]) if isinstance(values, Tensor) and values.dim() == 5 else []
    read = _node if torch.compiler.is_compiling() else _read
    return read(",".join(masks), list(masks.values()), facts, clips, side, past, name)


def _read(
    kinds: str,
    masks: list[Tensor],
    facts: list[Tensor | None],
    clips: list[int],
    side: int,
    past: int,
    name: str,
) -> tuple[Tensor, Tensor]:
    """As `chains_of`, of what a node of a graph can be given: `facts` kind by kind, `clips` videos and their frames."""
    batch, length = masks[0].shape
    chains = torch.arange(batch, device=masks[0].device)[:, None].repeat(1, length)
    inside, count = torch.zeros_like(masks[0]), batch
    for index, (kind, mask) in enumerate(zip(kinds.split(","), masks, strict=True)):
        if not mask.any():
            continue
        if past and kind == "image":
            raise InputError(
                "pictures in a call that goes on from a cache: a recurrence over them cannot tell whether they follow "
                "those before; give the whole conversation in one call, whose generation may be cached"
            )
        told = dict(zip(FACTS, facts[index * len(FACTS) :], strict=False))
        videos = list(_videos(kind, mask, told, clips if kind == "video" else [], side, name))
        parts, numbers = [], []
        for number, (start, part) in enumerate(_numbered(videos, count)):
            parts.append(part)
            numbers.append(torch.full_like(part, number))
            count = start + videos[number].places
        chains[mask] = torch.cat(parts).to(mask.device)
        inside |= _between(mask, torch.cat(numbers).to(mask.device))
    return chains, inside


_node = torch.library.custom_op("read::chains", _read, mutates_args=())


@_node.register_fake
def _(kinds, masks, facts, clips, side, past, name):
    return torch.empty_like(masks[0], dtype=torch.int64), torch.empty_like(masks[0])


def _videos(
    kind: str, mask: Tensor, told: dict[str, Tensor | None], clips: list[int], side: int, name: str
) -> Iterator[_Video]:
    """What the tokens of a kind are, in their order over the samples."""
    total, grid, merges = int(mask.sum()), told["grid_thw"], told["merge_sizes"]
    if grid is not None:
        each = [side] * len(grid) if merges is None else merges.tolist()
        sizes = [(t, h * w // merged**2) for (t, h, w), merged in zip(grid.tolist(), each, strict=True)]
        kept = told["compression_mask"]
    elif clips:
        count, frames = clips
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
            f"{name}: {total} tokens of {kind}s in input_ids, but what is told of their frames is of "
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
