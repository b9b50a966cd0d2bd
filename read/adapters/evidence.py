"""What the modules around a list of layers say of its tokens: which are real, what they are, which see which.

All of it is read from the arguments and the source of their forward methods, from `is_causal` of the layers' attention
and from the config. What is not said, or said in two ways, is refused and never guessed.
"""

import inspect
import re
from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn

from read.adapters.families import SEE_ALL, SEE_EARLIER, STRANGERS, is_one_of
from read.adapters.frames import GRIDS
from read.adapters.surroundings import MASKS, around, is_pretrained, mask_argument
from read.errors import InputError

READS = {"pixel_values": "video", "pixel_values_videos": "video", GRIDS: "video", "input_ids": "text",
         "input_features": "audio", "input_values": "audio"}  # fmt: skip
WORDS = ("input_ids", "inputs_embeds")
CACHE = "past_key_values"
NO_MASK = re.compile(r"masked_pos|head_mask|encoder|decoder|cross|output|time|global|pixel|position|vis(ion|ual)_")


class Surroundings:
    """A list of layers of `model`, by its name, and the modules around it, up to the model of transformers it is in.

    `lists` are all lists of layers in the model.
    """

    def __init__(self, model: nn.Module, layers: str, lists: Sequence[str]) -> None:
        self.model, self.name = model, layers
        self.owner = _owner(model, layers)
        path = list(around(layers))
        self.inner = path[: path.index(self.owner) + 1]  # the nearest first
        self.others = [name for name in lists if name != layers and _owner(model, name) == self.owner]

    def arguments(self, name: str) -> list[str]:
        """Of the forward method of a module."""
        return list(inspect.signature(self.model.get_submodule(name).forward).parameters)

    @property
    def stack(self) -> str:
        """The module whose call tells which tokens are real.

        The nearest that does something with a mask is given it as the layers need it. Before it comes the model around
        it, which is given the mask of words, where it has no other layers: the mask of sounds is often of samples. A
        model with several lists of layers may mean any of them.

        Raises:
            InputError: a mask has another name than is known, or may be of other layers.
        """
        takers = [name for name in self.inner if _uses_mask(self.model.get_submodule(name))]
        if self.others and self.owner in takers:
            takers.remove(self.owner)
            if len(self.inner) == 1:
                if any(next(around(name)) == self.owner for name in self.others):
                    told = ", ".join((self.name, *self.others))
                    raise InputError(f"{self._where}: its mask may be of any of {told}; name targets=(...)")
                takers = [self.owner]
        words = any(name in WORDS for name in self.arguments(self.owner))
        own = [name for name in self.inner if name != self.owner or not self.others]
        masks = (item for name in own for item in self.arguments(name) if "mask" in item and item not in MASKS)
        if words and not takers and (unknown := [item for item in masks if not NO_MASK.search(item)]):
            raise InputError(f"{self._where}: {unknown[0]} is no mask that can be read; name targets=(...)")
        packed = [name for name in self.inner if GRIDS in self.arguments(name)]
        if words and self.owner in takers:
            return self.owner
        return next(iter(packed or takers), self.inner[0])

    @property
    def modality(self) -> str:
        """Of the tokens: that of what the nearest model reads, where this is of one kind."""
        for name in around(self.name):
            if (kind := type(self.model.get_submodule(name)).__name__) in STRANGERS:
                return STRANGERS[kind]
            kinds = {READS[item] for item in self.arguments(name) if item in READS}
            if kinds:
                return kinds.pop() if len(kinds) == 1 else "tokens"
        return "tokens"

    def causal(self, layer: nn.Module, attends_elsewhere: bool) -> bool:
        """Whether no token sees a later one.

        Args:
            layer: one of the list.
            attends_elsewhere: it has cross-attention, as a decoder's has.

        Raises:
            InputError: nothing says so, or one thing says this and another that.
        """
        source = "".join(_body(self.model.get_submodule(name)) for name in self.inner)
        forwards, both_ways = (bool(re.search(rf"create_\w*{kind}\w*mask", source))
                               for kind in ("causal", "bidirectional"))  # fmt: skip
        flags = {bool(part.is_causal) for part in layer.modules() if isinstance(getattr(part, "is_causal", None), bool)}
        owner: Any = self.model.get_submodule(self.owner)
        writes = getattr(getattr(owner, "config", None), "is_decoder", None)
        cached = any(CACHE in self.arguments(name) for name in self.inner)
        if writes or (forwards and (not both_ways or attends_elsewhere or writes is None)):
            return True
        if forwards or (both_ways and (writes is False or not cached or True not in flags)):
            return False
        if not both_ways and len(flags) == 1:
            return flags.pop()
        if is_one_of(owner, SEE_EARLIER):
            return True
        if is_one_of(owner, SEE_ALL) or (not cached and self.modality in ("video", "audio")):
            return False
        raise InputError(
            f"{self.name}: nothing says whether its tokens see later ones; name targets=(...), with causal=True where "
            "they do not"
        )

    @property
    def _where(self) -> str:
        return self.owner or type(self.model).__name__


def _owner(model: nn.Module, layers: str) -> str:
    """The nearest model of transformers around a list of layers, or the whole model."""
    return next((name for name in around(layers) if not name or is_pretrained(model.get_submodule(name))), "")


def _uses_mask(module: nn.Module) -> bool:
    """Whether a module's forward takes a mask and does something with it."""
    name = mask_argument(inspect.signature(module.forward).parameters)
    return name is not None and re.search(rf"\b{name}\b", _body(module)) is not None


def knows_padding(module: nn.Module) -> bool:
    """Whether a model makes the mask that it is not given of the ids of its words."""
    return re.search(r"(attention_mask|lengths) = .*pad_(token_id|index)", _body(module)) is not None


def packs(module: nn.Module) -> bool:
    """Whether a stack puts several samples into one row, of which its arguments do not tell."""
    return GRIDS not in inspect.signature(module.forward).parameters and "cu_seqlens" in _body(module)


def _body(module: nn.Module) -> str:
    """The source of forward, without its arguments and docstring."""
    try:
        source = inspect.getsource(inspect.unwrap(type(module).forward))
    except (OSError, TypeError):
        return ""
    body = re.split(r"\)\s*(->[^\n]*)?:\s*\n", source, maxsplit=1)[-1]
    return re.sub(r'r?"""(.|\n)*?"""', "", body, count=1)


def names_of(found: Iterable[tuple[str, str]]) -> str:
    """Modules and their classes, those of one list once."""
    starred = ((re.sub(r"(?<=\.)\d+(?=\.|$)", "*", name), kind) for name, kind in found)
    return ", ".join(dict.fromkeys(f"{name} ({kind})" for name, kind in starred))
