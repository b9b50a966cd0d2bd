"""The network of SlowFast (Feichtenhofer et al. 2019) under the names of pytorchvideo's published weights.

Symbols: B clips, T frames of the slow pathway, alpha * T of the fast one, S their side in pixels, d width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

EXPANSION = 4  # of a residual block's width, at its end
FUSED = 2  # channels that the slow pathway is given for each of the fast one's
FUSION_KERNEL = 7  # frames


class Stem(nn.Module):
    """A convolution over `time` frames and 7 x 7 pixels, and pooling."""

    def __init__(self, width: int, time: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, width, (time, 7, 7), (1, stride, stride), (time // 2, 3, 3), bias=False)
        self.norm = nn.BatchNorm3d(width)
        self.activation = nn.ReLU()
        self.pool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))

    def forward(self, frames: Tensor) -> Tensor:
        """(B, 3, T, S, S) -> (B, width, T, S / stride / 2, S / stride / 2)."""
        return self.pool(self.activation(self.norm(self.conv(frames))))


class ResidualBlock(nn.Module):
    """Convolutions over `time` frames, over 3 x 3 pixels, and to `out` channels."""

    def __init__(self, given: int, width: int, out: int, time: int, stride: int) -> None:
        super().__init__()
        self.conv_a = nn.Conv3d(given, width, (time, 1, 1), padding=(time // 2, 0, 0), bias=False)
        self.norm_a = nn.BatchNorm3d(width)
        self.act_a = nn.ReLU()
        self.conv_b = nn.Conv3d(width, width, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False)
        self.norm_b = nn.BatchNorm3d(width)
        self.act_b = nn.ReLU()
        self.conv_c = nn.Conv3d(width, out, 1, bias=False)
        self.norm_c = nn.BatchNorm3d(out)

    def forward(self, states: Tensor) -> Tensor:
        """(B, given, T, S, S) -> (B, out, T, S / stride, S / stride)."""
        states = self.act_a(self.norm_a(self.conv_a(states)))
        return self.norm_c(self.conv_c(self.act_b(self.norm_b(self.conv_b(states)))))


class Block(nn.Module):
    """A bottleneck beside the identity, or beside a convolution where it changes the shape."""

    def __init__(self, given: int, width: int, out: int, time: int, stride: int) -> None:
        super().__init__()
        self.branch1_conv = self.branch1_norm = None
        if given != out or stride != 1:
            self.branch1_conv = nn.Conv3d(given, out, 1, (1, stride, stride), bias=False)
            self.branch1_norm = nn.BatchNorm3d(out)
        self.branch2 = ResidualBlock(given, width, out, time, stride)
        self.activation = nn.ReLU()

    def forward(self, states: Tensor) -> Tensor:
        """As `ResidualBlock`."""
        beside = states if self.branch1_conv is None else self.branch1_norm(self.branch1_conv(states))
        return self.activation(beside + self.branch2(states))


class Stage(nn.Module):
    """`count` blocks, the first of which shrinks the picture by `stride`."""

    def __init__(self, count: int, given: int, width: int, out: int, time: int, stride: int) -> None:
        super().__init__()
        shapes = [(given, stride), *[(out, 1)] * (count - 1)]
        self.res_blocks = nn.ModuleList(Block(first, width, out, time, step) for first, step in shapes)

    def forward(self, states: Tensor) -> Tensor:
        """As `Block`."""
        for block in self.res_blocks:
            states = block(states)
        return states


class Lateral(nn.Module):
    """What the fast pathway tells the slow one: a convolution over time, as slow as it."""

    def __init__(self, width: int, alpha: int) -> None:
        super().__init__()
        kernel, stride = (FUSION_KERNEL, 1, 1), (alpha, 1, 1)
        self.conv_fast_to_slow = nn.Conv3d(width, FUSED * width, kernel, stride, (FUSION_KERNEL // 2, 0, 0), bias=False)
        self.norm = nn.BatchNorm3d(FUSED * width)
        self.activation = nn.ReLU()

    def forward(self, slow: Tensor, fast: Tensor) -> tuple[Tensor, Tensor]:
        """The slow states with what is told beside them, and the fast ones."""
        return torch.cat([slow, self.activation(self.norm(self.conv_fast_to_slow(fast)))], 1), fast


class Paths(nn.Module):
    """A part of each pathway, and their fusion; None: they stay apart."""

    def __init__(self, slow: nn.Module, fast: nn.Module, fusion: Lateral | None) -> None:
        super().__init__()
        self.multipathway_blocks = nn.ModuleList([slow, fast])
        self.multipathway_fusion = fusion

    def forward(self, slow: Tensor, fast: Tensor) -> tuple[Tensor, Tensor]:
        """The states of both pathways after it."""
        states = tuple(block(given) for block, given in zip(self.multipathway_blocks, (slow, fast), strict=True))
        return states if self.multipathway_fusion is None else self.multipathway_fusion(*states)


class SlowFastNetwork(nn.Module):
    """Both pathways, without a classifier: their states' means, the slow one's first.

    Args:
        blocks: residual blocks in each of the four stages: (3, 4, 6, 3) are those of a ResNet-50.
        widths: of the slow and of the fast stem.
        stride: of the stems, before they pool.
        alpha: frames of the fast pathway for each of the slow one.
    """

    def __init__(self, blocks: Sequence[int], widths: Sequence[int], stride: int, alpha: int) -> None:
        super().__init__()
        slow, fast = widths
        parts = [Paths(Stem(slow, 1, stride), Stem(fast, 5, stride), Lateral(fast, alpha))]
        given = [slow + FUSED * fast, fast]
        for stage, count in enumerate(blocks):
            inner = [width << stage for width in widths]
            outer, step = [EXPANSION * width for width in inner], 1 if stage == 0 else 2
            times = (1 if stage < 2 else 3, 3)
            paths = [Stage(count, *sizes, step) for sizes in zip(given, inner, outer, times, strict=True)]
            last = stage == len(blocks) - 1
            parts.append(Paths(*paths, None if last else Lateral(outer[1], alpha)))
            given = [outer[0] + FUSED * outer[1], outer[1]]
        self.blocks = nn.ModuleList(parts)
        self.width = sum(outer)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, ResidualBlock):
                nn.init.zeros_(module.norm_c.weight)  # each block begins as the identity

    def forward(self, slow: Tensor, fast: Tensor) -> Tensor:
        """(B, 3, T, S, S) and (B, 3, alpha * T, S, S) -> (B, d)."""
        for part in self.blocks:
            slow, fast = part(slow, fast)
        return torch.cat([slow.mean((2, 3, 4)), fast.mean((2, 3, 4))], 1)
