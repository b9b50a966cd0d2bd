"""Layers of UMT; their state dicts have the keys of the public checkpoints.

Symbols: B samples, N clips, M words, K bottleneck tokens, T and S tokens that attend and that are attended to, d width.
Masks are True at real tokens, but for `key_padding_mask` and `attn_mask`, which are torch's.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def scaled_normal(*shape: int) -> nn.Parameter:
    """A parameter whose last axis has length 1 on average, as the public code starts its tokens and positions."""
    return nn.Parameter(torch.randn(shape) / shape[-1] ** 0.5)


class Projection(nn.Module):
    """Linear and, where asked for, LayerNorm, whose bias then stands for that of the linear layer."""

    def __init__(self, inputs: int, outputs: int, norm: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, bias=not norm)
        self.norm = nn.LayerNorm(outputs) if norm else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """(B, T, inputs) -> (B, T, outputs)."""
        return self.norm(self.linear(features))


class Positions(nn.Module):
    """Learnt positions, with dropout. Those of a video with more clips than there are positions are stretched."""

    def __init__(self, d: int, count: int, dropout: float) -> None:
        super().__init__()
        self.pe = scaled_normal(1, count, d)
        self.dropout = nn.Dropout(dropout)

    def forward(self, mask: Tensor) -> Tensor:
        """Mask (B, N) -> (B, N, d)."""
        batch, clips = mask.shape
        learnt = self.pe[0]
        if clips <= len(learnt):
            return self.dropout(learnt[:clips].expand(batch, -1, -1))
        last = len(learnt) - 1
        step = (last / (mask.sum(1, keepdim=True) - 1).clamp(min=1)).clamp(max=1)
        place = (torch.arange(clips, device=mask.device) * step).clamp(max=last)
        low = place.long()
        share = (place - low)[..., None].to(learnt.dtype)
        return self.dropout(learnt[low].lerp(learnt[(low + 1).clamp(max=last)], share))


class MultiheadAttention(nn.Module):
    """Attention that is called as torch's is, with published keys.

    Args:
        d: width.
        heads: of the attention.
        dropout: on the attention weights, and on what the module gives.
    """

    batch_first = True

    def __init__(self, d: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.embed_dim, self.heads, self.dropout = d, heads, dropout
        self.q = nn.Linear(d, d)
        self.k = nn.Linear(d, d)
        self.v = nn.Linear(d, d)
        self.m = nn.Linear(d, d)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = False,
        attn_mask: Tensor | None = None,
    ) -> tuple[Tensor, None]:
        """Attend.

        Args:
            query: (B, T, d).
            key: (B, S, d).
            value: (B, S, d).
            key_padding_mask: (B, S), True at padding.
            need_weights: for callers of torch's; there never are any.
            attn_mask: boolean, broadcasts with (B, heads, T, S), True where T may not attend to S.

        Returns:
            (B, T, d), and None for the weights.
        """
        q, k, v = (
            layer(tokens).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, tokens in ((self.q, query), (self.k, key), (self.v, value))
        )
        hidden = key_padding_mask if key_padding_mask is None else key_padding_mask[:, None, None]
        if attn_mask is not None:
            hidden = attn_mask if hidden is None else hidden | attn_mask
        attended = F.scaled_dot_product_attention(
            q, k, v, None if hidden is None else ~hidden, self.dropout if self.training else 0.0
        )
        mixed = self.m(attended.transpose(1, 2).flatten(2))
        return F.dropout(mixed, self.dropout, self.training), None


class FeedForward(nn.Module):
    """Linear, ReLU, linear, with dropout after the ReLU and at the end."""

    def __init__(self, d: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.mapping = nn.Sequential(
            nn.Linear(d, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, d), nn.Dropout(dropout)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, d) -> what is added to the residual."""
        return self.mapping(tokens)


class UMTEncoderLayer(nn.Module):
    """A pre-norm layer of self-attention; positions join queries and keys."""

    def __init__(self, d: int, heads: int, feed_forward: int, dropout: float) -> None:
        super().__init__()
        self.att = MultiheadAttention(d, heads, dropout)
        self.ffn = FeedForward(d, feed_forward, dropout)
        self.norm1 = nn.LayerNorm(d)
        self.norm2 = nn.LayerNorm(d)

    def forward(self, clips: Tensor, position: Tensor, padding: Tensor) -> Tensor:
        """(B, N, d), positions (B, N, d), padding (B, N) -> (B, N, d)."""
        normed = self.norm1(clips)
        located = normed + position
        clips = clips + self.att(located, located, normed, key_padding_mask=padding)[0]
        return clips + self.ffn(self.norm2(clips))


class UniModalEncoder(nn.Module):
    """Features to tokens of one modality: dropout, mapping, positions, one layer."""

    def __init__(
        self, inputs: int, d: int, heads: int, feed_forward: int, dropout: float, input_dropout: float, positions: int
    ) -> None:
        super().__init__()
        self.dropout = nn.Dropout(input_dropout)
        self.mapping = Projection(inputs, d)
        self.pos_enc = Positions(d, positions, dropout)
        self.encoder = UMTEncoderLayer(d, heads, feed_forward, dropout)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """(B, N, inputs), mask (B, N) -> (B, N, d)."""
        return self.encoder(self.mapping(self.dropout(features)), self.pos_enc(mask), ~mask)


class BottleneckLayer(nn.Module):
    """Two modalities that hear of each other through a few bottleneck tokens only (section 3.2 of the paper)."""

    def __init__(self, d: int, heads: int, feed_forward: int, dropout: float) -> None:
        super().__init__()
        for index in range(1, 5):
            self.add_module(f"att{index}", MultiheadAttention(d, heads, dropout))
        self.ffn1 = FeedForward(d, feed_forward, dropout)
        self.ffn2 = FeedForward(d, feed_forward, dropout)
        for index in range(1, 7):
            self.add_module(f"norm{index}", nn.LayerNorm(d))

    def forward(
        self, video: Tensor, audio: Tensor, tokens: Tensor, position: Tensor, padding: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Compress the clips into the tokens, and expand these to the clips again.

        Args:
            video: (B, N, d).
            audio: (B, N, d).
            tokens: (B, K, d).
            position: (B, N, d).
            padding: (B, N), True at padding.

        Returns:
            The first three, in their shapes.
        """
        seen, heard, query = self.norm1(video), self.norm2(audio), self.norm3(tokens)
        seen_at, heard_at = seen + position, heard + position
        from_video = self.att1(query, seen_at, seen, key_padding_mask=padding)[0]
        from_audio = self.att2(query, heard_at, heard, key_padding_mask=padding)[0]
        tokens = tokens + from_video + from_audio
        shared = self.norm4(tokens)
        video = video + self.att3(seen_at, shared, shared)[0]
        audio = audio + self.att4(heard_at, shared, shared)[0]
        return video + self.ffn1(self.norm5(video)), audio + self.ffn2(self.norm6(audio)), tokens


class BottleneckTransformer(nn.Module):
    """The learnt bottleneck tokens, and one layer."""

    def __init__(self, d: int, heads: int, feed_forward: int, dropout: float, tokens: int) -> None:
        super().__init__()
        self.token = scaled_normal(tokens, d)
        self.encoder = nn.ModuleList([BottleneckLayer(d, heads, feed_forward, dropout)])

    def forward(self, video: Tensor, audio: Tensor, position: Tensor, padding: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, d) twice, positions (B, N, d), padding (B, N) -> (B, N, d) twice."""
        tokens = self.token.expand(len(video), -1, -1)
        for layer in self.encoder:
            video, audio, tokens = layer(video, audio, tokens, position, padding)
        return video, audio


class CrossModalEncoder(nn.Module):
    """Video and audio to one sequence: the normed sum of both."""

    def __init__(self, d: int, heads: int, feed_forward: int, dropout: float, tokens: int, positions: int) -> None:
        super().__init__()
        self.pos_enc = Positions(d, positions, dropout)
        self.encoder = BottleneckTransformer(d, heads, feed_forward, dropout, tokens)
        self.norm = nn.LayerNorm(d)

    def forward(self, video: Tensor, audio: Tensor, mask: Tensor) -> Tensor:
        """(B, N, d) twice, mask (B, N) -> (B, N, d)."""
        video, audio = self.encoder(video, audio, self.pos_enc(mask), ~mask)
        return self.norm(video + audio)


class QueryGenerator(nn.Module):
    """A query per clip: what the clip attends to among the words (section 3.3 of the paper)."""

    def __init__(self, inputs: int, d: int, heads: int, dropout: float, input_dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(input_dropout)
        self.mapping = Projection(inputs, d, norm=True)
        self.encoder = MultiheadAttention(d, heads, dropout)

    def forward(self, clips: Tensor, text: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, d), word features (B, M, inputs), their mask (B, M) -> queries (B, N, d), mapped words (B, M, d)."""
        words = self.mapping(self.dropout(text))
        return self.encoder(clips, words, words, key_padding_mask=~mask)[0], words


class UMTDecoderLayer(nn.Module):
    """A pre-norm layer of self-attention and of attention to the clips; positions join queries and keys."""

    def __init__(self, d: int, heads: int, feed_forward: int, dropout: float) -> None:
        super().__init__()
        self.att1 = MultiheadAttention(d, heads, dropout)
        self.att2 = MultiheadAttention(d, heads, dropout)
        self.ffn = FeedForward(d, feed_forward, dropout)
        self.norm1 = nn.LayerNorm(d)
        self.norm2 = nn.LayerNorm(d)
        self.norm3 = nn.LayerNorm(d)

    def forward(self, queries: Tensor, clips: Tensor, places: tuple[Tensor, Tensor], padding: Tensor | None) -> Tensor:
        """Queries (B, N, d), clips (B, N, d), the positions of both, padding (B, N) of both -> (B, N, d)."""
        of_queries, of_clips = places
        normed = self.norm1(queries)
        located = normed + of_queries
        queries = queries + self.att1(located, located, normed, key_padding_mask=padding)[0]
        located = self.norm2(queries) + of_queries
        queries = queries + self.att2(located, clips + of_clips, clips, key_padding_mask=padding)[0]
        return queries + self.ffn(self.norm3(queries))


class QueryDecoder(nn.Module):
    """The decoder's layers, with positions for queries and for clips, and a norm at the end."""

    def __init__(self, d: int, heads: int, feed_forward: int, dropout: float, layers: int, positions: int) -> None:
        super().__init__()
        self.q_pos_enc = Positions(d, positions, dropout)
        self.k_pos_enc = Positions(d, positions, dropout)
        self.decoder = nn.ModuleList(UMTDecoderLayer(d, heads, feed_forward, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(d)

    def forward(self, queries: Tensor, clips: Tensor, mask: Tensor, padding: Tensor | None) -> Tensor:
        """Queries (B, N, d), clips (B, N, d), their mask (B, N), padding (B, N) to keep out -> (B, N, d)."""
        places = self.q_pos_enc(mask), self.k_pos_enc(mask)
        for layer in self.decoder:
            queries = layer(queries, clips, places, padding)
        return self.norm(queries)
