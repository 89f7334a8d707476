"""Makes the checkpoints of test_import.py and the answers of transformers; needs torch and transformers.

    python tests/importing/make_checkpoints.py tests/importing/checkpoints

Weights are random. Vocabularies are learnt from README.md and a few words of other languages.
"""

# ruff: noqa: S106, S311
import json
import random
import sys
import unicodedata
from pathlib import Path

import numpy as np
import torch
import transformers
from tokenizers import Regex, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers import Tokenizer as Library

CORPUS = [
    *Path("README.md").read_text(encoding="utf-8").splitlines(),
    *5 * ["café Zürich ①② 東京 … 😀 naïve", "это хороший фильм", "c'est très bien", "日本語 のテキスト"],
]
MARKERS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
SIZES = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32,
    "dim": 16, "n_layers": 2, "n_heads": 4, "hidden_dim": 32,
}  # fmt: skip


def wordpiece(lowercase):
    library = Library(models.WordPiece(unk_token="[UNK]"))
    library.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    library.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=400, special_tokens=special))
    library.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"unk": "[UNK]", "pad": "[PAD]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    return fast(library, {f"{name}_token": token for name, token in names.items()})


def byte_level_bpe():
    library = Library(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=450, special_tokens=MARKERS, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())
    )
    library.train_from_iterator(CORPUS, trainer)
    library.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return fast(library, with_markers())


def unigram():
    library = Library(models.Unigram())
    library.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    library.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=400, special_tokens=MARKERS, unk_token="<unk>")
    library.train_from_iterator(CORPUS, trainer)
    library.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return fast(library, with_markers())


def with_markers():
    names = {"bos": "<s>", "eos": "</s>", "unk": "<unk>", "pad": "<pad>", "cls": "<s>", "sep": "</s>", "mask": "<mask>"}
    return {f"{name}_token": token for name, token in names.items()}


def fast(library, tokens):
    return transformers.PreTrainedTokenizerFast(tokenizer_object=library, model_max_length=48, **tokens)


def texts():
    """Own sentences, and random characters of all of Unicode between plain words."""
    draw = random.Random(1)
    chars = [chr(i) for i in range(1, 0x20000) if unicodedata.category(chr(i)) not in ("Cs", "Cn")]
    plain = "abcdefghijklmnopqrstuvwxyz ABC  .,!?'\n\t-0123"
    mixed = [
        "".join(draw.choice(chars if draw.random() < 0.5 else plain) for _ in range(draw.randint(0, 60)))
        for _ in range(200)
    ]
    return [*(line for line in CORPUS if line.strip())][:100] + mixed


def save(folder, family, tokenizer, labels, **settings):
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(
        family, vocab_size=len(tokenizer), id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)}, **SIZES, **settings,
    )  # fmt: skip
    model = transformers.AutoModelForSequenceClassification.from_config(config).eval()
    for weight in model.parameters():
        weight.data.add_(torch.randn_like(weight) * 0.2)
    model.save_pretrained(folder / family)
    tokenizer.save_pretrained(folder / family)
    ids = [tokenizer(text, truncation=True).input_ids for text in texts()]
    with torch.no_grad():
        logits = [model(input_ids=torch.tensor([row])).logits[0].tolist() for row in ids]
    return {"ids": ids, "logits": np.round(logits, 6).tolist()}


def main():
    folder = Path(sys.argv[1])
    like_roberta = {
        "max_position_embeddings": 50, "type_vocab_size": 1, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2,
        "layer_norm_eps": 1e-5,
    }  # fmt: skip
    answers = {
        "bert": save(folder, "bert", wordpiece(True), ["neg", "pos"], max_position_embeddings=48),
        "distilbert": save(folder, "distilbert", wordpiece(False), ["a", "b", "c"], max_position_embeddings=48),
        "roberta": save(folder, "roberta", byte_level_bpe(), ["toxic"], **like_roberta),
        "xlm-roberta": save(folder, "xlm-roberta", unigram(), [f"{i} stars" for i in range(1, 6)], **like_roberta),
    }
    content = json.dumps({"texts": texts(), **answers}, separators=(",", ":"))
    (folder / "answers.json").write_text(content + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
