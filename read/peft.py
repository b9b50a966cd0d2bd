"""READ as a method of peft: `import read.peft` is all that it takes.

    model = get_peft_model(model, ReadConfig(mixer="gru", bottleneck=8))

The modules and what they compute are those of `read.inject`; saved, loaded, switched and merged they are peft's way.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, make_dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from read.adapters.config import AdapterConfig
from read.adapters.inject import activate, deactivate, inject, remove
from read.adapters.merge import merge, updates_of
from read.adapters.runtime import Adapters
from read.errors import InputError, optional_imports

with optional_imports():
    from peft import PeftConfig, PeftType
    from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
    from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer, set_adapter
    from peft.utils import register_peft_method
    from peft.utils.other import AuxiliaryTrainingWrapper, set_additional_trainable_modules

__all__ = ["ReadConfig", "ReadModel"]
NAME = "READ"
PREFIX = "adapters."  # in the names of parameters

# The fields of AdapterConfig, whose docstring tells of them, as a base of the config that peft reads and writes.
_Fields: Any = make_dataclass(
    "_Fields", [(item.name, item.type, field(default=item.default)) for item in fields(AdapterConfig)]
)


@dataclass
class ReadConfig(PeftConfig, _Fields):
    """`read.AdapterConfig` as a config of peft.

    Attributes:
        modules_to_save: names of modules that train as a whole beside READ, as a task's head.

    Raises:
        InputError: naming all fields at fault.
    """

    modules_to_save: list[str] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = PeftType(NAME)
        self.adapter_config()

    def adapter_config(self) -> AdapterConfig:
        """As `read.inject` takes it."""
        return AdapterConfig(**{item.name: getattr(self, item.name) for item in fields(AdapterConfig)})


class PeftAdapters(Adapters, BaseTunerLayer):
    """READ's adapters of one model as peft sees them: one layer, which `ReadModel` switches."""

    of_peft = True
    adapter_layer_names = ("bottlenecks",)
    merged_adapters: Any = ()

    @property
    def weight(self) -> Any:
        """There is none: a layer of peft's has that of what it stands around."""
        raise AttributeError("weight")

    bias = weight

    @property
    def bottlenecks(self) -> "PeftAdapters":
        """By adapter; peft asks for the parts of a layer by name."""
        return self

    def set_adapter(self, adapter_names: str | list[str], inference_mode: bool = False) -> None:
        """Remember which adapter peft has chosen."""
        self._active_adapter = adapter_names

    def merge(self, *args: Any, **kwargs: Any) -> None:
        """Refused: what is merged in place has to come out again."""
        raise InputError("an adapter of READ cannot be merged for a while; merge_and_unload takes it out for good")


class ReadModel(BaseTuner):
    """What peft puts around a model that READ adapts."""

    prefix = PREFIX
    tuner_layer_cls = PeftAdapters
    target_module_mapping: ClassVar[dict[str, list[str]]] = {}

    def inject_adapter(
        self,
        model: nn.Module,
        adapter_name: str,
        autocast_adapter_dtype: bool = True,
        low_cpu_mem_usage: bool = False,
        state_dict: dict[str, Tensor] | None = None,
    ) -> None:
        """Add an adapter; the first one is active, later ones wait for `set_adapter`.

        Raises:
            InputError: as `read.inject`, or the model has adapters that peft knows nothing of.
        """
        config: Any = self.peft_config[adapter_name]
        adapters: Any = getattr(model, "adapters", None)
        if isinstance(adapters, Adapters) and not adapters.of_peft:
            raise InputError(f"the model holds adapters by read.inject ({', '.join(adapters)}); remove these first")
        try:
            if adapters is not None:
                adapters.__class__ = Adapters  # which may be added to
            inject(model, config.adapter_config(), adapter_name)
        finally:
            if adapters is not None:
                adapters.__class__ = PeftAdapters
        if adapters is None:
            adapters = model.adapters
            adapters.__class__ = PeftAdapters
            adapters._disable_adapters, adapters._active_adapter = False, adapter_name
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)
        set_additional_trainable_modules(
            model=model,
            peft_config=config,
            model_config=BaseTuner.get_model_config(self),
            adapter_name=adapter_name,
            activate_adapter=adapter_name in self.active_adapters,
        )

    def set_adapter(self, adapter_name: str | list[str], inference_mode: bool = False) -> None:
        """Activate an adapter. Raises InputError for several, which READ cannot add."""
        names = [adapter_name] if isinstance(adapter_name, str) else list(adapter_name)
        if len(names) > 1:
            raise InputError(f"READ has one adapter active at a time, not {', '.join(names)}")
        set_adapter(self.model, names, inference_mode, PeftAdapters)
        self.active_adapter = adapter_name
        adapters: Any = getattr(self.model, "adapters", None)
        if names:
            activate(self.model, names[0])
            adapters[names[0]].requires_grad_(not inference_mode)
        elif adapters is not None:
            deactivate(self.model)

    def _enable_adapter_layers(self, enabled: bool = True) -> None:
        for module in self.model.modules():
            if isinstance(module, AuxiliaryTrainingWrapper):
                module.enable_adapters(enabled)
        adapters: Any = getattr(self.model, "adapters", None)
        if adapters is None:
            return
        adapters._disable_adapters = not enabled
        if enabled and self.active_adapters:
            activate(self.model, self.active_adapters[0])
        elif not enabled:
            deactivate(self.model)

    def delete_adapter(self, adapter_name: str) -> None:
        """Take an adapter out; where it was active, the first of those that are left takes its place."""
        if adapter_name not in self.peft_config:
            raise ValueError(f"Adapter {adapter_name} does not exist")
        del self.peft_config[adapter_name]
        remove(self.model, adapter_name)
        left = [name for name in self.active_adapters if name != adapter_name] or list(self.peft_config)[:1]
        for module in self.model.modules():
            if isinstance(module, AuxiliaryTrainingWrapper):
                module.delete_adapter(adapter_name, new_active_adapters=left)
        self.set_adapter(left)

    def _unload_and_optionally_merge(
        self,
        merge: bool = True,
        progressbar: bool = False,
        safe_merge: bool = False,
        adapter_names: Sequence[str] | None = None,
    ) -> nn.Module:
        names = list(self.active_adapters if adapter_names is None else adapter_names)
        if merge and names:
            self._merge(names, safe_merge)
        for name in list(getattr(self.model, "adapters", ())):
            remove(self.model, name)
        return super()._unload_and_optionally_merge(merge, progressbar, safe_merge, names or None)

    def _merge(self, names: list[str], safe_merge: bool) -> None:
        adapters: Any = self.model.adapters
        if len(names) > 1:
            raise InputError(f"one adapter of READ is merged at a time, not {', '.join(names)}")
        updates = updates_of(self.model, adapters, names[0])  # all is checked before others are taken out
        if safe_merge and not all(update.isfinite().all() for _, update in updates):
            raise ValueError(f"NaNs detected in the merged weights. The adapter {names[0]} seems to be broken")
        for other in [name for name in adapters if name != names[0]]:
            remove(self.model, other)
        merge(self.model, names[0])

    def _create_and_replace(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("READ stands beside layers, by `inject_adapter`")

    @classmethod
    def _get_adapter_state_dict(
        cls,
        model: nn.Module,
        config: PeftConfig,
        adapter_name: str,
        state_dict: dict[str, Tensor],
        unwanted_adapter_names: list[str],
    ) -> dict[str, Tensor]:
        prefixes = tuple(
            f"{name}.{adapter_name}." for name, module in model.named_modules() if isinstance(module, PeftAdapters)
        )
        return {key: value for key, value in state_dict.items() if prefixes and key.startswith(prefixes)}

    @classmethod
    def _remove_adapter_name_from_key(cls, key: str, adapter_name: str) -> str:
        named = f"{PREFIX}{adapter_name}."
        if f".{key}".find(f".{named}") >= 0:
            return key.replace(named, PREFIX, 1)
        return super()._remove_adapter_name_from_key(key, adapter_name)

    @classmethod
    def _remap_adapter_state_dict_for_load(
        cls, model: nn.Module, config: PeftConfig, adapter_name: str, state_dict: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        known = {}
        for key in cls._get_adapter_state_dict(model, config, adapter_name, model.state_dict(), []):
            saved = cls._remove_adapter_name_from_key(key, adapter_name)
            known |= {saved: key, f"base_model.model.{saved}": key}
        return {known.get(key, key): value for key, value in state_dict.items()}


def _register() -> None:
    """Make peft know of READ. Its types are an enumeration, which has no door for those of others."""
    if not hasattr(BaseTuner, "_get_adapter_state_dict"):
        raise InputError("read.peft needs peft 0.21 or later; read.inject works beside any")
    if NAME not in PeftType.__members__:
        member = str.__new__(PeftType, NAME)
        member._name_, member._value_ = NAME, NAME
        setattr(PeftType, NAME, member)
        PeftType._member_map_[NAME] = PeftType._value2member_map_[NAME] = member
        PeftType._member_names_.append(NAME)
    if PeftType(NAME) not in PEFT_TYPE_TO_TUNER_MAPPING:
        register_peft_method(name=NAME.lower(), config_cls=ReadConfig, model_cls=ReadModel, prefix=PREFIX)


_register()
