"""Summarization as a task that `read.train` can train: cross-entropy of the summary's tokens, ROUGE-L.

Symbols: B samples, T tokens of the longest summary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from read.errors import InputError
from read.metrics.summarization import rouge
from read.ranks import work_shared
from read.summarization.summarize import (
    IGNORED,
    INPUTS,
    OUTPUT_TOKENS,
    SummarySample,
    check,
    check_numbers,
    collate,
    summarize,
)


@dataclass(frozen=True)
class Summarization:
    """A `read.train.Task`: write the summary of a video and its transcript.

    Attributes:
        tokenizer: the model's, of transformers.
        smoothing: share of the target that is spread over all tokens (label smoothing).
        max_new_tokens: of the summaries that are written to validate.
        batch_size: of these.
    """

    tokenizer: Any
    smoothing: float = 0.1
    max_new_tokens: int = OUTPUT_TOKENS
    batch_size: int = 32

    def prepare(self, model: nn.Module, samples: Sequence[SummarySample]) -> list[SummarySample]:
        """Checked samples. Raises InputError as `check` and `check_numbers`, and for a summary without tokens."""
        check(model, samples)
        check_numbers(samples)
        for sample in samples:
            if sample.target is None or not len(sample.target):
                raise InputError(f"video {sample.vid}: its summary has no tokens, so teaches nothing")
        return list(samples)

    def collate(self, samples: Sequence[SummarySample]) -> dict[str, Any]:
        """A batch of `read.summarization.summarize.collate`."""
        return collate(samples, self.tokenizer.pad_token_id) | {"vids": [sample.vid for sample in samples]}

    def forward(self, model: nn.Module, batch: dict[str, Any]) -> Any:
        """`entropy` (B, T), the smoothed cross-entropy of each token, 0 where there is none."""
        before, labels = model.seq2seq.prepare_decoder_input_ids_from_labels(labels=batch["labels"]), batch["labels"]
        logits = model(*(batch[name] for name in INPUTS), decoder_input_ids=before, use_cache=False).logits.float()
        options = {"ignore_index": IGNORED, "label_smoothing": self.smoothing, "reduction": "none"}
        return {"entropy": F.cross_entropy(logits.mT, labels, **options)}

    def losses(self, model: nn.Module, outputs: Any, batch: dict[str, Any]) -> dict[str, Tensor]:
        """`cross_entropy`, the mean over the batch's real tokens."""
        return {"cross_entropy": outputs["entropy"].sum() / (batch["labels"] != IGNORED).sum()}

    def score(self, model: nn.Module, samples: Sequence[SummarySample]) -> float:
        """ROUGE-L of greedy summaries, in percent: mean F1 per pair, words as the spaces part them.

        What tables report, but without beams, which would multiply the cost of every validation.
        """
        return _rouge_l(self._greedy(model, samples), samples)

    def score_videos(self, model: nn.Module, samples: Sequence[SummarySample]) -> dict[str, float]:
        """The same of each video."""
        written = self._greedy(model, samples)
        return {sample.vid: _rouge_l([text], [sample]) for text, sample in zip(written, samples, strict=True)}

    def _greedy(self, model: nn.Module, samples: Sequence[SummarySample]) -> list[str]:
        rows = work_shared(
            samples,
            lambda part: summarize(model, self.tokenizer, part, 1, self.max_new_tokens, batch_size=self.batch_size),
        )
        return [row["summary"] for row in rows]


def _rouge_l(written: Sequence[str], samples: Sequence[SummarySample]) -> float:
    return rouge(written, [sample.summary for sample in samples])["ROUGE-L-whitespace"]
