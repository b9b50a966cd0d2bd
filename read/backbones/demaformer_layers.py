"""Layers of DemaFormer; their state dicts have the keys of the public code. Equations are those of the paper.

Symbols: B samples, N clips, L tokens, S tokens that are attended to, d width. Masks are True at real tokens.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from read.scan import scan


class FeatureProjection(nn.Module):
    """Layer norm, linear, dropout."""

    def __init__(self, inputs: int, d: int, dropout: float) -> None:
        super().__init__()
        self.proj = nn.Sequential(nn.LayerNorm(inputs), nn.Linear(inputs, d), nn.Dropout(dropout))

    def forward(self, features: Tensor) -> Tensor:
        """(B, L, inputs) -> (B, L, d)."""
        return self.proj(features)


class DEMA(nn.Module):
    """Equations 1 to 3: g = W x, l_i = a * g_i + (1 - a * delta) * l_i-1, x' = V l; a, delta in (0, 1) per channel."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.in_proj, self.out_proj = nn.Linear(d, d), nn.Linear(d, d)
        self.alpha_logit, self.delta_logit = nn.Parameter(torch.zeros(d)), nn.Parameter(torch.zeros(d))

    def forward(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """(B, L, d) -> (B, L, d); a state passes tokens that a mask (B, L) leaves out as it is."""
        rate = self.alpha_logit.float().sigmoid()
        kept, new = 1 - rate * self.delta_logit.float().sigmoid(), rate * self.in_proj(tokens).float()
        kept = kept.expand_as(new)
        if mask is not None:
            kept, new = kept.masked_fill(~mask[..., None], 1.0), new.masked_fill(~mask[..., None], 0.0)
        return self.out_proj(scan(kept, new).to(tokens.dtype))


class ProjectedAttention(nn.Module):
    """Attention over sides that are projected already, called as torch's is, so that prompts can join its keys."""

    batch_first = True

    def __init__(self, d: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.embed_dim, self.heads, self.dropout = d, heads, dropout

    def forward(self, query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Tensor) -> Tensor:
        """(B, L, d) and twice (B, S, d), mask (B, S) True at padding -> (B, L, d)."""
        split = (side.unflatten(-1, (self.heads, -1)).transpose(1, 2) for side in (query, key, value))
        drop = self.dropout if self.training else 0.0
        seen = F.scaled_dot_product_attention(*split, attn_mask=~key_padding_mask[:, None, None], dropout_p=drop)
        return seen.transpose(1, 2).flatten(2)


class DampedAttention(nn.Module):
    """Equations 4 to 12: attention whose values are of the moving average, and a gate between its result and x."""

    def __init__(self, d: int, heads: int, dropout: float, masked: bool) -> None:
        super().__init__()
        self.masked = masked
        self.dema = DEMA(d)
        self.attend = ProjectedAttention(d, heads, dropout)
        self.z_proj = nn.Linear(d, d)
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(d, d) for _ in range(3))
        self.gate_proj, self.p_proj_a, self.p_proj_b = (nn.Linear(d, d) for _ in range(3))

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """(B, L, d), mask (B, L) -> what is added to the tokens, gate * (p - x)."""
        averaged = self.dema(tokens, mask if self.masked else None)
        values = F.silu(self.z_proj(averaged))
        sides = (self.q_proj(tokens), self.k_proj(tokens), self.v_proj(values))
        seen = self.attend(*sides, key_padding_mask=~mask)
        new = F.silu(self.p_proj_a(averaged) + self.p_proj_b(values * seen))
        return self.gate_proj(averaged).sigmoid() * (new - tokens)


class DemaFormerLayer(nn.Module):
    """Norm(x + attention(x)), then Norm(x + feed_forward(x)); equations 15 to 20."""

    def __init__(self, d: int, heads: int, inner: int, dropout: float, masked: bool) -> None:
        super().__init__()
        self.attn = DampedAttention(d, heads, dropout, masked)
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.ffn = nn.Sequential(
            nn.Linear(d, inner), nn.ReLU(), nn.Dropout(dropout), nn.Linear(inner, d), nn.Dropout(dropout)
        )

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """(B, L, d), mask (B, L) -> (B, L, d)."""
        tokens = self.norm1((tokens + self.attn(tokens, mask)) * mask[..., None])
        return self.norm2(tokens + self.ffn(tokens))


class AudioAttention(nn.Module):
    """Equation 13: what is heard in a clip says which clips it looks at; F' = Norm(F + softmax(A F' / sqrt d) F)."""

    def __init__(self, d: int, dropout: float) -> None:
        super().__init__()
        self.dropout, self.norm = dropout, nn.LayerNorm(d)

    def forward(self, clips: Tensor, audio: Tensor, mask: Tensor) -> Tensor:
        """(B, N, d) twice, mask (B, N) -> (B, N, d)."""
        drop = self.dropout if self.training else 0.0
        heard = F.scaled_dot_product_attention(audio, clips, clips, attn_mask=mask[:, None], dropout_p=drop)
        return self.norm(clips + heard)


def located(tokens: Tensor) -> Tensor:
    """(B, L, d) and the sine embedding of each token's place, 0 at first: sine and cosine by turns."""
    place = torch.arange(tokens.shape[1], device=tokens.device, dtype=torch.float32)[:, None]
    angle = place * 10000 ** (-torch.arange(0, tokens.shape[2], 2, device=tokens.device) / tokens.shape[2])
    return tokens + torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(1).to(tokens.dtype)
