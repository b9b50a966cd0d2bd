"""Which layers methods of peft update, and what their updates are made of.

peft puts a layer of its own in the place of the one that it updates, and keeps that as `base_layer`. Nothing here needs
peft: its layers are known by their package.
"""

from collections.abc import Callable, Collection
from typing import Any

from torch import nn

from read.adapters.config import AdapterConfig
from read.adapters.places import kind_at, parts_of
from read.adapters.sub_blocks import _linear_parts, closed_forms, head_prefixes, sub_blocks
from read.adapters.surroundings import linear_sizes
from read.adapters.wrapped import added_by_peft, inner_of, is_peft, original
from read.errors import InputError, optional_imports
from read.weights import first_line


def linear_layers(model: nn.Module, after: Collection[str] = ()) -> tuple[list[str], list[str]]:
    """Names of the linear modules and of the packed attention projections, without closed forms.

    With `after`, those of the places of these kinds, where bottlenecks would stand as well; else of all but task heads.
    torch's attention reads the weights of its layers without calling them, so these are never among the modules.
    """
    parts, closed = parts_of(model, after), closed_forms(model)
    heads = tuple(f"{prefix}." for prefix in head_prefixes(model))
    modules, parameters, attentions = [], [], []
    for name, module in model.named_modules():
        left = kind_at(name, parts) is None if after else f"{name}.".startswith(heads)
        if isinstance(module, nn.MultiheadAttention):
            attentions.append(f"{name}.")
        if left or f"{name}.".startswith(closed):
            continue
        if isinstance(module, nn.MultiheadAttention):
            parameters += [f"{name}.in_proj_weight"] * (module.in_proj_weight is not None)
        elif linear_sizes(module) and not name.startswith(tuple(attentions)):
            modules.append(name)
    return modules, parameters


def targets_of(model: nn.Module, after: Collection[str], said: str, packed: bool = True) -> tuple[list[str], list[str]]:
    """As `linear_layers`, for a strategy with its option `after`; without `packed`, no packed projections.

    Raises:
        InputError: `after` names no kind of place, or there are no linear layers.
    """
    kinds = AdapterConfig(after=after).after if after else ()  # type: ignore[arg-type]
    modules, parameters = linear_layers(model, kinds)
    if not modules and not (parameters and packed):
        where = f" at {' and '.join(kinds)}" if kinds else ""
        what = "linear layers that are not packed" if parameters else "linear layers"
        raise InputError(f"{said}: {type(model).__name__} has no {what}{where}")
    return modules, parameters if packed else []


def norm_layers(model: nn.Module) -> list[str]:
    """Names of the norms, those of the task heads and of closed forms aside."""
    left = (*(f"{prefix}." for prefix in head_prefixes(model)), *closed_forms(model))
    return [
        name for name, module in model.named_modules()
        if type(module).__name__.endswith("Norm") and next(module.parameters(recurse=False), None) is not None
        and not f"{name}.".startswith(left)
    ]  # fmt: skip


def last_linear_layers(model: nn.Module) -> set[str]:
    """Names of the linear layers by which feed-forward blocks end; none in a model whose blocks are not known."""
    try:
        blocks = sub_blocks(model, "feed_forward")
    except InputError:  # which asks for more than is needed here, as whether a token sees later ones
        return set()
    ends = (_linear_parts(model, place, named=False)[-1] for place in blocks)
    return {place.name for place in ends if place.linear}


def put_in(model: nn.Module, make_config: Callable[[], Any], adapter: str, said: str) -> list[str]:
    """Put layers of a method of peft into a model, in place.

    Args:
        model: as it was.
        make_config: peft's.
        adapter: a name.
        said: who says so, for messages.

    Returns:
        Names of the parameters that train, all of which are beside the model's own.

    Raises:
        InputError: in peft's words, the config is none, or does not fit the model; or it changed the model's own
            weights, by which the backbone would not be known any more.
    """
    with optional_imports():
        from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING

    before = _marks(model)
    try:
        config = make_config()
        # Not by inject_adapter_in_model, which refuses methods whose layers share a part; here these hold it as well.
        PEFT_TYPE_TO_TUNER_MAPPING[config.peft_type](model, config, adapter)
    except Exception as error:  # every method checks, or fails to check, in its own way
        raise InputError(f"{said}: peft refuses {type(model).__name__}: {first_line(error)}") from None
    if changed := sorted(name for name, mark in _marks(model).items() if before.get(name) != mark):
        raise InputError(f"{said}: changes the backbone's own weights, as {changed[0]}; options that do not, would do")
    in_its_mode(model)
    _answer_for_attention(model)
    added = added_by_peft(model)
    return [name for name, value in model.named_parameters() if value.requires_grad and name in added]


def in_its_mode(model: nn.Module) -> None:
    """Let peft's layers drop out and draw by chance only where what they stand around trains; new ones always do."""
    for module in list(model.modules()):
        if is_peft(module) and (inner := inner_of(module)) is not None:
            module.training = inner.training
            for part in module.children():
                if part is not inner:
                    part.train(inner.training)


def _answer_for_attention(model: nn.Module) -> None:
    """What torch's encoder layers ask of their attention, of that which peft has put around it.

    By the biases that it is said not to have, they call it, in place of computing with its frozen weights themselves.
    """
    for module in list(model.modules()):
        if is_peft(module) and isinstance(inner := inner_of(module), nn.MultiheadAttention):
            answers: Any = module
            answers.batch_first, answers.in_proj_bias = inner.batch_first, None


def _marks(model: nn.Module) -> dict[str, tuple]:
    """What changes with a weight of the model's own: where it lies, and how often it was written to."""
    added = added_by_peft(model)
    state = model.state_dict(keep_vars=True)
    return {
        original(name): (value.data_ptr(), value._version, value.shape)
        for name, value in state.items()
        if name not in added
    }
