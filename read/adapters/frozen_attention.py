"""Keep frozen attention as fast as trained attention.

torch multiplies a tensor that is not contiguous with a weight that wants no gradient as one product per row, with the
weight expanded. nn.MultiheadAttention makes its batch-first inputs such tensors, so freezing it slows it down several
times. The hook here lays the inputs out in memory so that the transposed tensors are contiguous; no value changes.
Where torch takes its fused path, which goes another way and by the last bit elsewhere, the inputs stay as they are.
"""

from typing import Any

import torch
from torch import Tensor, nn

NAMES = ("query", "key", "value")
ARGUMENTS = (*NAMES, "key_padding_mask", "need_weights", "attn_mask")  # of nn.MultiheadAttention


def lay_out_inputs(module: nn.MultiheadAttention, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
    """Forward pre-hook of an attention module."""
    weight = module.in_proj_weight
    if not module.batch_first or weight is None or weight.requires_grad:
        return None
    if _fused(module, dict(zip(ARGUMENTS, args, strict=False)) | kwargs):
        return None
    done: dict[int, Tensor] = {}  # query, key and value may be one tensor, and attention takes shorter ways then

    def laid_out(value: Any) -> Any:
        if not isinstance(value, Tensor) or value.dim() != 3 or not value.is_floating_point():
            return value
        return done.setdefault(id(value), value.transpose(0, 1).contiguous().transpose(0, 1))

    return (*map(laid_out, args[:3]), *args[3:]), {
        name: laid_out(value) if name in NAMES else value for name, value in kwargs.items()
    }


def _fused(module: nn.MultiheadAttention, given: dict[str, Any]) -> bool:
    """Whether torch takes its fused path for an attention call."""
    masks = (given.get("key_padding_mask"), given.get("attn_mask"))
    return (
        given["query"] is given["key"] is given["value"]
        and not any(mask is not None and mask.is_floating_point() for mask in masks)
        and not module.training
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled(given["query"].device.type)
    )


def hook_attention(model: nn.Module) -> None:
    """Register the hook with every nn.MultiheadAttention that is frozen and lacks it."""
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoder) and not hasattr(module, "used_nested_tensor"):
            encoder: Any = module
            encoder.used_nested_tensor = encoder.use_nested_tensor
            encoder.use_nested_tensor = False  # hooks turn torch's fused layers off, and the others cannot take these
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
