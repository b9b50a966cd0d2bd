"""The space that an encoder of pictures and sentences has for both, and a linear map into it from all features.

Symbols: B samples, N clips, dv width of the clip features, e width of the joint space; x (dv,) a clip's features, c
(e,) its columns of the joint embedding, q (e,) a sentence, both L2-normalised.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SHORT = 0.1  # length of R x, of 1 in the root mean square, below which it is not made longer than in proportion


def joined_clips(embedded: Tensor, mapped: Tensor) -> Tensor:
    """Clips v' (..., e) of centred embeddings and of what R makes of their features, both (..., e)."""
    return F.normalize(F.normalize(embedded, dim=-1) + F.normalize(mapped, dim=-1, eps=SHORT), dim=-1)


class JointSpace(nn.Module):
    """Compares clips and sentences: s . v', with s = norm(q - mean), v' = norm(norm(c - mean) + norm(R x)).

    R is zero until it is fitted (`read.grounding.ridge`), so that what is compared is the encoder's own embeddings. An
    R x that is very short stays shorter than 1: it says nothing, and its direction would be noise.

    Args:
        dv: width of the clip features.
        start: the first of the columns that hold the joint embedding.
        e: how many these are.
        trains: whether strategies may change R; else it is only ever fitted.

    Attributes:
        fitted: names of the parameters that are fitted to labelled videos in closed form.
        closed_form: no strategy trains them.
        folds: vid -> what R and its bias gain where the video's own labels are left out; see `correction`.
    """

    fitted = ("map.weight", "map.bias", "video_mean", "sentence_mean")

    def __init__(self, dv: int, start: int, e: int, trains: bool = True) -> None:
        super().__init__()
        self.columns = slice(start, start + e)
        self.closed_form = not trains
        self.map = nn.Linear(dv, e)
        self.video_mean = nn.Parameter(torch.zeros(e))
        self.sentence_mean = nn.Parameter(torch.zeros(e))
        nn.init.zeros_(self.map.weight)
        nn.init.zeros_(self.map.bias)
        self.requires_grad_(trains)
        self.folds: dict[str, tuple[Tensor, Tensor]] = {}

    def clips(self, video: Tensor, correction: Tensor | None = None) -> Tensor:
        """V' (B, N, e), of features (B, N, dv); `correction` (B, N, e) is added to R x."""
        mapped = self.map(video).float()  # lengths of halves underflow
        if correction is not None:
            mapped = mapped + correction
        return joined_clips(video[..., self.columns].float() - self.video_mean.float(), mapped)

    def sentence(self, sentence: Tensor) -> Tensor:
        """Centred and normalised (B, e), float32, of sentences (B, e)."""
        return F.normalize(sentence.float() - self.sentence_mean.float(), dim=-1)

    def curve(self, video: Tensor, sentence: Tensor) -> Tensor:
        """(B, N) cosines of clips and sentence."""
        return (self.clips(video) * self.sentence(sentence)[:, None]).sum(-1)

    def correction(self, vid: str, video: Tensor) -> Tensor | None:
        """(N, e), by which R x becomes what R would give that was fitted without this video; None: it has no part in R.

        A branch that trains beside R would else be taught on residuals that R has already explained away.
        """
        if vid not in self.folds:
            return None
        weight, bias = self.folds[vid]
        return video @ weight.T + bias
