"""The methods of peft, by its own registry: IA3, VeRA, OFT, FourierFT and all others that update layers of any model.

`type` is peft's name of the method in small letters, or `dora` or `rslora`, which are LoRA with one of its options. The
other options are the method's own, as its config in peft names them, but for `rank` and `alpha`, which are `r` and
`lora_alpha` there. Layers are chosen as by the strategy `lora`; methods other than LoRA leave the packed projections of
torch's attention alone, which no layer of peft can stand around.
"""

import dataclasses
import types
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from math import gcd
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from torch import nn

from read.adapters.peft_layers import last_linear_layers, norm_layers, put_in, targets_of
from read.adapters.registry import Strategy
from read.errors import InputError, optional_imports
from read.plugins import suggest

VARIANTS = {"dora": ("lora", {"use_dora": True}), "rslora": ("lora", {"use_rslora": True})}
RENAMED = {"r": "rank", "lora_alpha": "alpha"}
REFUSED = {
    "adalora": "moves its ranks by a call after every step, which no trainer here makes; take lora, dora or rslora",
    "poly": "wants to be told the task of every sample; take lora",
    "read": "is READ as peft sees it; take the strategy read",
    "shadow": "runs a second language model beside the first; take another, as lora",
    "trainable_tokens": "trains rows of a vocabulary, no layer; take another, as lora",
    "xlora": "mixes LoRAs that were trained before; take lora",
}
LEFT_OUT = {"fan_in_fan_out", "layers_pattern", "megatron_core", "inference_mode"}  # plain, and ours or nobody's
# Options whose default is too large for narrow layers. Where not given: the largest part of peft's default that divides
# the widths it has to divide, or what the narrowest layer takes.
DIVIDES: dict[str, tuple[str, Callable[[int, int], tuple[int, ...]]]] = {
    "boft": ("boft_block_size", lambda inputs, outputs: (inputs,)),
    "c3a": ("block_size", lambda inputs, outputs: (inputs, outputs)),
    "road": ("group_size", lambda inputs, outputs: (outputs,)),
    "vblora": ("vector_length", lambda inputs, outputs: (inputs, outputs)),
}
AT_MOST: dict[str, tuple[str, Callable[[int, int], int]]] = {
    "fourierft": ("n_frequency", lambda inputs, outputs: inputs * outputs),
    "waveft": ("n_frequency", lambda inputs, outputs: inputs * outputs),
    "miss": ("r", lambda inputs, outputs: inputs),
    "psoft": ("r", min),
    "shira": ("r", lambda inputs, outputs: inputs * outputs // (inputs + outputs)),
}
BUDGETS = {  # where it is not `rank`; None: no option of which every whole number does, and a larger one trains more
    "fourierft": "n_frequency", "waveft": "n_frequency", "unilora": "theta_d_length", "tinylora": "u",
    "gralora": None, "oft": None, "randlora": None, "supertuning": None,
}  # fmt: skip
OF_WEIGHTS = {"boft", "frod", "shira", "unilora"}  # they look at weights, or compute, when they are made
MOST = 2**20  # of any option that is a whole number: in a bundle, a stranger chose it
REPEATED = {"depth": 64, "num_cayley_neumann_terms": 64}  # times that something is done one after the other


@dataclasses.dataclass(frozen=True)
class Method:
    """A method of peft: its config, what a variant fixes of that, and the fields that are options, with annotations."""

    name: str
    config: Any
    fixed: Mapping[str, Any]
    fields: Mapping[str, Any]

    @property
    def norms(self) -> bool:
        """Whether it updates norms in the place of linear layers."""
        return self.name == "ln_tuning"

    def defaults(self) -> dict[str, Any]:
        """The options; None: as `Method.fitted` finds it."""
        found = {item.name: item.default for item in dataclasses.fields(self.config) if item.name in self.fields}
        found |= {key: 0 for key in ("random_seed", "generator_seed") if key in found}  # or it could not be loaded
        if self.name == "lora":
            found |= {"r": 4, "lora_alpha": 8}  # as the strategy lora
        if self.name in ("c3a", "fourierft"):
            found["init_weights"] = True  # to zeros, so that the model starts as it is
        return found | {key: None for key, _ in self._limits()}

    def fitted(self, options: Mapping[str, Any], layers: Iterable[tuple[int, int]]) -> dict[str, Any]:
        """Options with those in place that follow from the widths of the layers, each (inputs, outputs)."""
        layers, found = list(layers), dict(options)
        usual: dict[str, Any] = {item.name: item.default for item in dataclasses.fields(self.config)}
        for key, limit in self._limits():
            if found[key] is None:
                found[key] = limit(usual[key], layers)
        return found

    def _limits(self) -> Iterable[tuple[str, Callable[[int, list[tuple[int, int]]], int]]]:
        if self.name in DIVIDES:
            key, divided = DIVIDES[self.name]
            yield key, lambda usual, layers: gcd(usual, *(width for layer in layers for width in divided(*layer)))
        if self.name in AT_MOST:
            key, most = AT_MOST[self.name]
            yield key, lambda usual, layers: max(1, min(usual, *(most(*layer) for layer in layers)))


@cache
def method(kind: str) -> Method:
    """The method of a `type`. Raises InputError for one that there is not, with the nearest, or that is refused."""
    with optional_imports():
        from peft import AdaptionPromptConfig
        from peft.config import PromptLearningConfig
        from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    known = {str(name.value).lower(): config for name, config in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
    name, fixed = VARIANTS.get(kind, (kind, {}))
    if name in REFUSED:
        raise InputError(f"strategy peft: {name} {REFUSED[name]}")
    if name not in known:
        raise InputError(f"strategy peft: peft has no type {kind!r}{suggest(kind, {*known, *VARIANTS} - {*REFUSED})}")
    config: Any = known[name]
    if issubclass(config, (PromptLearningConfig, AdaptionPromptConfig)):
        raise InputError(
            f"strategy peft: {name} puts tokens before those of a language model, which get_peft_model alone can do; "
            "the strategy prompt does so in any model"
        )
    hints = get_type_hints(config)
    fields = {
        item.name: hints[item.name]
        for item in dataclasses.fields(config)
        if item.name not in LEFT_OUT and item.name not in fixed and _is_plain(hints[item.name])
    }
    return Method(name, config, fixed, fields)


def _is_plain(kind: Any) -> bool:
    """Whether an annotation is of numbers, texts and the like."""
    if get_origin(kind) in (Union, types.UnionType):
        return all(map(_is_plain, get_args(kind)))
    return get_origin(kind) is Literal or kind in (bool, int, float, str, type(None))


def _widths(layer: Any) -> tuple[int, int]:
    return layer.in_features, layer.out_features


def _variant(options: Mapping[str, Any]) -> Strategy:
    """The strategy that a `type` is."""
    kind = options.get("type", "lora")
    if not isinstance(kind, str):
        raise InputError(f"strategy peft: type is {kind!r}, which is no str")
    found = method(kind)
    defaults = {RENAMED.get(key, key): value for key, value in found.defaults().items()}
    kinds = {RENAMED.get(key, key): hint for key, hint in found.fields.items()}
    kinds |= {key: int | None for key, value in defaults.items() if value is None and kinds[key] is int}
    for key, value in options.items():
        most = REPEATED.get(key, MOST)
        if type(value) is int and abs(value) > most:
            raise InputError(f"strategy peft: {key} is {value}; {most} is the most")
    budget = BUDGETS.get(found.name, "rank" if "rank" in defaults else None)
    return dataclasses.replace(
        STRATEGY,
        apply=partial(_apply, found),
        options={"type": kind, **defaults, **({} if found.norms else {"after": ()})},
        kinds=kinds,
        budget=budget,
        weightless=found.name not in OF_WEIGHTS,
    )


def _apply(found: Method, model: nn.Module, options: dict[str, Any], adapter: str) -> Iterable[str]:
    said = f"strategy peft, type {options['type']}"
    given = {field: options[RENAMED.get(field, field)] for field in found.fields}
    if found.norms:
        targets: dict[str, Any] = {"target_modules": norm_layers(model)}
        if not targets["target_modules"]:
            raise InputError(f"{said}: {type(model).__name__} has no norms")
    else:
        packed = found.name == "lora" and not {**given, **found.fixed}["use_dora"]
        modules, parameters = targets_of(model, options["after"], said, packed)
        targets = {"target_modules": modules} | ({"target_parameters": parameters} if packed else {})
        if found.name == "ia3":
            targets["feedforward_modules"] = sorted(last_linear_layers(model) & set(modules))
        given = found.fitted(given, [_widths(model.get_submodule(name)) for name in modules])
    return put_in(model, partial(found.config, **given, **found.fixed, **targets), adapter, said)


STRATEGY = Strategy(
    "any method of peft that updates layers, by its `type`",
    "Mangrulkar et al. 2022 (PEFT)",
    partial(_apply, Method("", None, {}, {})),
    {"type": "lora"},
    variant=_variant,
)
