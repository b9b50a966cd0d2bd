"""READ's adapters in a model that peft adapts as well, as peft has to see them: a module that trains beside its layers.

peft freezes all that is not its own when it enters a model, but for modules of this class, which say themselves what of
them trains, is saved and is switched. READ's are saved and switched by this library, so here peft is told of nothing.
"""

from typing import Any

from torch import nn

from read.adapters.runtime import Adapters
from read.errors import optional_imports

with optional_imports():
    from peft.utils.other import AuxiliaryTrainingWrapper


class AdaptersBesidePeft(Adapters, AuxiliaryTrainingWrapper):  # type: ignore[misc]  # `update` is a ModuleDict's
    """What `Adapters` becomes once peft has been imported; nothing else changes."""

    _adapters: Any = frozenset()
    disable_adapters = property(lambda self: False)
    active_adapter = active_adapters = property(lambda self: [])
    __getattr__ = nn.Module.__getattr__
    forward = nn.Module.forward

    @property
    def unload_and_optionally_merge_module(self) -> Any:
        """There is nothing to take out: peft asks whether it has this."""
        raise AttributeError("unload_and_optionally_merge_module")

    def _get_available_adapters(self) -> set[str]:
        return set()

    def check_set_adapter(self, adapter_name: str | list[str]) -> None:
        """No adapter of peft's is in it."""

    def enable_adapters(self, enabled: bool) -> None:
        """READ is switched by `activate` and `deactivate`."""

    def set_adapter(self, adapter_names: str | list[str], inference_mode: bool = False) -> None:
        """As `enable_adapters`."""

    def delete_adapter(self, adapter_name: str, new_active_adapters: list[str] | None) -> None:
        """As `enable_adapters`, by `remove`."""

    def set_requires_grad(self, adapter_names: Any, requires_grad: bool = True) -> None:
        """As `enable_adapters`."""

    def adapter_state_dict(self, adapter_name: str, state_dict: Any = None) -> dict[str, Any]:
        """READ is saved by `save_adapter`."""
        return {}

    def adapter_state_dict_load_map(self, adapter_name: str) -> dict[str, str]:
        """And loaded by `load_adapter`."""
        return {}
