"""Keep frozen attention as fast as trained attention.

torch multiplies a tensor that is not contiguous with a weight that wants no gradient as one product per row, with the
weight expanded. nn.MultiheadAttention makes its batch-first inputs such tensors, so freezing it slows it down several
times. The hook here lays the inputs out in memory so that the transposed tensors are contiguous; no value changes.
"""

from typing import Any

from torch import Tensor, nn


def lay_out_inputs(module: nn.MultiheadAttention, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
    """Forward pre-hook of an attention module."""
    weight = module.in_proj_weight
    if not module.batch_first or weight is None or weight.requires_grad:
        return None
    done: dict[int, Tensor] = {}  # query, key and value may be one tensor, and attention takes shorter ways then

    def laid_out(value: Any) -> Any:
        if not isinstance(value, Tensor) or value.dim() != 3 or not value.is_floating_point():
            return value
        return done.setdefault(id(value), value.transpose(0, 1).contiguous().transpose(0, 1))

    names = ("query", "key", "value")
    return tuple(map(laid_out, args[:3])) + args[3:], {
        key: laid_out(value) if key in names else value for key, value in kwargs.items()
    }


def hook_attention(model: nn.Module) -> None:
    """Register the hook with every nn.MultiheadAttention that is frozen and lacks it."""
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoder) and not hasattr(module, "used_nested_tensor"):
            module.used_nested_tensor = module.use_nested_tensor
            module.use_nested_tensor = False  # hooks turn torch's fused layers off, and the others cannot take these
        if not isinstance(module, nn.MultiheadAttention) or module.in_proj_weight is None:
            continue
        if not module.in_proj_weight.requires_grad and lay_out_inputs not in module._forward_pre_hooks.values():
            module.register_forward_pre_hook(lay_out_inputs, with_kwargs=True)


def unhook_attention(model: nn.Module) -> None:
    """Take the hooks away again."""
    for module in model.modules():
        if hasattr(module, "used_nested_tensor"):
            module.use_nested_tensor = module.__dict__.pop("used_nested_tensor")
        if isinstance(module, nn.MultiheadAttention):
            for key, hook in list(module._forward_pre_hooks.items()):
                if hook is lay_out_inputs:
                    del module._forward_pre_hooks[key], module._forward_pre_hooks_with_kwargs[key]
