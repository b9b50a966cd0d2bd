"""What a hub would have: tokenizers and the configuration of a text model, small, in folders."""

from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, MT5Config, PreTrainedTokenizerFast

TEXTS = ["the dog jumps over the fence", "a cat sits on the mat and looks at a bird", "rain falls on the empty street"]


def sentencepiece_like(folder: Path) -> Path:
    """As SigLIP's: pieces that begin with a mark, an end, and the end's token for padding as well."""
    own = Tokenizer(models.BPE(unk_token="<unk>"))
    own.normalizer, own.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Metaspace()
    own.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=90, special_tokens=["<unk>", "</s>"], show_progress=False)
    )
    own.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=own, unk_token="<unk>", eos_token="</s>", pad_token="</s>"
    ).save_pretrained(folder)
    return folder


def bert_like(folder: Path) -> Path:
    """As BERT's: a start, an end and padding, each with a token of its own."""
    own = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    own.normalizer, own.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    own.train_from_iterator(
        TEXTS, trainers.WordPieceTrainer(vocab_size=90, special_tokens=special, show_progress=False)
    )
    own.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), special, strict=True))
    PreTrainedTokenizerFast(tokenizer_object=own, **names).save_pretrained(folder)
    return folder


def text_model(folder: Path, kind: str) -> Path:
    """The configuration of a BERT or of an mT5 of two layers."""
    if kind == "bert":
        sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
        BertConfig(vocab_size=90, max_position_embeddings=16, **sizes).save_pretrained(folder)
    else:
        sizes = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2}
        MT5Config(vocab_size=90, **sizes).save_pretrained(folder)
    return folder
