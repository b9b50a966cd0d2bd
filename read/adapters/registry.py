"""The strategies by name. A strategy is a file in `strategies/` with a `STRATEGY`; its stem is its name."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from torch import nn

from read.adapters.config import AdapterConfig, check_keys
from read.adapters.frozen_attention import hook_attention
from read.adapters.inject import Applied, applied, copies_of, inject, set_trainable, tensors_of, write_backbone_only
from read.adapters.sub_blocks import OWN, fitted_parameters, head_parameters, own_parameters
from read.adapters.wrapped import added_by_peft, refuse_peft, unwrap_to_change
from read.errors import InputError
from read.plugins import STRATEGIES
from read.settings import fits, words

COMMON_OPTIONS = {"train_head": False}  # of every strategy
ALIGNMENT_OPTIONS = {
    "gamma": 0.1, "mass": 0.5, "cost": "cosine", "solver": "exact", "temperature": 0.05, "warmup": 0.2, "contrast": 1.0,
    "centred": False,
}  # fmt: skip
KINDS: dict[type, Any] = {bool: (bool,), int: (int,), float: (int, float), str: (str,), tuple: (str, tuple, list)}


@dataclass(frozen=True)
class Strategy:
    """A way to fine-tune a model.

    Attributes:
        description: one line, for people.
        source: the paper.
        apply: from (model, options, adapter's name): changes the model and returns the names of the parameters that
            train. What `train_head` asks for is added to them.
        options: with their defaults.
        budget: the option that sets how many parameters train, where there is one.
        alignment: the task's loss is to be joined by an alignment of `alignment_states`, whose settings are options of
            the strategy as well, ALIGNMENT_OPTIONS. `read_pvla` gives the reason for their defaults; those of
            `read.alignment.Alignment` are the paper's.
        switchable: leaves the model's own weights alone, so that one model can hold several.
        rate_scale: of the learning rates that all strategies are tried with: where the best ones of this one lie.
        variant: from options: the strategy that they make of one which is several, with that one's options and budget.
        kinds: annotations of options whose default does not tell what they may be.
        weightless: it can be applied to a model without memory, as those of bundles are before they are trusted.
        name: the stem of its file, by which params, tables and saved files know it; `get_strategy` fills it in.
    """

    description: str
    source: str
    apply: Callable[[nn.Module, dict[str, Any], str], Iterable[str]]
    options: Mapping[str, Any] = field(default_factory=dict)
    budget: str | None = None
    alignment: bool = False
    switchable: bool = False
    rate_scale: float = 1.0
    variant: Callable[[Mapping[str, Any]], "Strategy"] | None = None
    kinds: Mapping[str, Any] = field(default_factory=dict)
    weightless: bool = True
    name: str = ""

    def of(self, options: Mapping[str, Any]) -> "Strategy":
        """The strategy that it is with these options. Raises InputError where it is none."""
        return self if self.variant is None else replace(self.variant(options), name=self.name, variant=None)

    def complete(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """All options, with defaults for those not given.

        Raises:
            InputError: for an option that there is not, with the nearest, and for a value of another type.
        """
        if self.variant is not None:
            return self.of(options).complete(options)
        defaults: dict[str, Any] = {**self.options, **(ALIGNMENT_OPTIONS if self.alignment else {}), **COMMON_OPTIONS}
        check_keys(options, defaults, f"strategy {self.name}")
        for key, value in options.items():
            kind = self.kinds.get(key, type(defaults[key]))
            if not (_fits(value, kind) if kind in KINDS else fits(value, kind)):
                raise InputError(f"strategy {self.name}: {key} is {value!r}, which is no {_name(kind)}")
            if key == self.budget and value is not None and value < 1:
                raise InputError(f"strategy {self.name}: {key} is {value}, but must be at least 1")
        return defaults | dict(options)


def _fits(value: Any, kind: type) -> bool:
    return isinstance(value, KINDS[kind]) and (kind is bool or not isinstance(value, bool))


def _name(kind: Any) -> str:
    return kind.__name__ if kind in KINDS else words(kind)


def bottleneck_strategy(description: str, source: str, *, alignment: bool = False, **settings: Any) -> Strategy:
    """A strategy of the adapter family: its options are the fields of AdapterConfig, with `settings` as defaults."""
    config = AdapterConfig(**settings)

    def apply(model: nn.Module, options: dict[str, Any], adapter: str) -> Iterable[str]:
        inject(model, AdapterConfig(**options), adapter)
        return applied(model)[adapter].trained

    options = {item.name: getattr(config, item.name) for item in fields(config)}
    return Strategy(description, source, apply, options, "bottleneck", alignment, switchable=True)


def strategy_names() -> list[str]:
    """Names of the strategies there are."""
    return STRATEGIES.names()


def get_strategy(name: str) -> Strategy:
    """A strategy by name. Raises InputError for one that there is not, with the nearest, or that does not load."""
    return replace(STRATEGIES.load(name), name=name)


def apply_strategy(name: str, model: nn.Module, *, adapter: str = "default", **options: Any) -> nn.Module:
    """Prepare `model` for fine-tuning, in place: change it as the strategy does, freeze the rest.

    Args:
        name: one of `strategy_names()`.
        model: the backbone, as it is or in nn.DataParallel.
        adapter: a name for switching, for strategies that can.
        options: the strategy's, `get_strategy(name).options`, and `train_head`: the task heads train as well.

    Raises:
        InputError: an unknown strategy or option (with the nearest), a model that cannot take it, nothing that trains.
    """
    strategy = get_strategy(name).of(options)
    options = strategy.complete(options)
    given, model = model, unwrap_to_change(model, "apply a strategy")
    _check_fresh(model, strategy, adapter)
    trained = set(strategy.apply(model, {key: options[key] for key in strategy.options}, adapter))
    if options["train_head"]:
        trained.update(head_parameters(model))
    if not trained:
        raise InputError(f"strategy {name}: nothing would train in {type(model).__name__}")
    drawn = _drawn(model, trained)
    record = Applied(name, options, frozenset(trained), strategy.alignment, fitted_parameters(model), drawn)
    if strategy.switchable:
        record.values = copies_of(model, trained & own_parameters(model).keys() | record.fitted)
        adapters: Any = model.adapters
        adapters.record_narrow = strategy.alignment
    applied(model)[adapter] = record
    set_trainable(model, record.trained)
    hook_attention(model)
    if any(hasattr(model, part) for part in OWN):
        write_backbone_only(model)
    return given


def _drawn(model: nn.Module, trained: Collection[str]) -> frozenset[str]:
    """What layers of peft keep beside what trains, each tensor once: they have drawn it by chance, or computed it."""
    added, trains = added_by_peft(model), {id(model.get_parameter(name)) for name in trained}
    lasting = added & model.state_dict(keep_vars=True).keys()
    return frozenset(name for name, value in tensors_of(model).items() if name in lasting and id(value) not in trains)


def _check_fresh(model: nn.Module, strategy: Strategy, adapter: str) -> None:
    held = applied(model)
    if held and not strategy.switchable:
        names = ", ".join(record.strategy or key for key, record in held.items())
        raise InputError(f"strategy {strategy.name}: the model already has {names}; apply it to a fresh one")
    if adapter != "default" and not strategy.switchable:
        raise InputError(f"strategy {strategy.name} cannot be switched, so it takes no adapter name")
    if not strategy.switchable:
        refuse_peft(model, strategy.name)
