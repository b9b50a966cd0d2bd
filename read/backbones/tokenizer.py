"""The tokenizers of text models: learned here, or as transformers keeps them.

Byte-level BPE (Sennrich et al. 2016; Radford et al. 2019) with BART's special tokens in BART's places.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from read.errors import InputError, optional_imports

SPECIAL = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
BOS, PAD, EOS, _ = range(len(SPECIAL))  # their ids
ALPHABET = 256  # bytes, each a token, so that no text is unknown


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Any:
    """Byte-level BPE learned from `texts`; the same texts in the same order give the same tokenizer.

    Args:
        texts: transcripts and summaries of the source domain.
        vocabulary: most tokens, the 256 bytes and 4 special ones among them; small corpora yield fewer.

    Returns:
        A `PreTrainedTokenizerFast`; texts are put between `<s>` and `</s>`. `save_pretrained(folder)` writes it as
        `tokenizer.json` and `tokenizer_config.json`, `load_tokenizer` reads them.

    Raises:
        InputError: the vocabulary is too small, or no text has a character.
    """
    with optional_imports():
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
        from transformers import PreTrainedTokenizerFast

    least = ALPHABET + len(SPECIAL)
    if vocabulary < least:
        raise InputError(f"train_tokenizer: a vocabulary of {vocabulary} is too small; it takes {least} at least")
    texts = list(texts)
    if not any(texts):
        raise InputError("train_tokenizer: no text to learn from")
    model = Tokenizer(models.BPE())
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=list(SPECIAL.values()), show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    model.train_from_iterator(texts, trainer)
    first, last = SPECIAL["bos_token"], SPECIAL["eos_token"]
    model.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}", special_tokens=[(first, BOS), (last, EOS)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=model, clean_up_tokenization_spaces=False, **SPECIAL)


def load_tokenizer(folder: str | Path) -> Any:
    """The tokenizer in a folder of transformers, such as `train_tokenizer`'s or a public model's.

    Raises:
        InputError: there is none.
    """
    with optional_imports():
        from transformers import AutoTokenizer

    if not Path(folder).is_dir():
        raise InputError(f"{folder}: no such folder; a tokenizer's holds tokenizer.json and tokenizer_config.json")
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # tokenizers, which is no Python, knows no kinds of errors
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{folder}: holds no tokenizer of transformers ({reason})") from None


def hub_name(source: str | Path) -> dict[str, str]:
    """What `from_pretrained` of transformers takes for a folder, or a name on the hub with its revision after an @."""
    name, _, revision = str(source).partition("@")
    here = Path(source).exists() or not revision
    key = "pretrained_model_name_or_path"
    return {key: str(source)} if here else {key: name, "revision": revision}
