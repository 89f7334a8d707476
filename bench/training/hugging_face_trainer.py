"""Training with the Hugging Face Trainer, like in its documentation, on prepared ids.

    python -m bench.training.hugging_face_trainer JOB RESULT

JOB is a JSON file: `checkpoint`, a BERT folder; `texts`, an .npz (read_texts); `padding`, "fixed" to max_length or
"dynamic" to the longest text of a batch; `grouped`, whether batches contain texts of similar length; `epochs`, `rate`,
`batch`, `max_length`, `classes`, `threads`, `seed`; `predict`, whether to predict the validation texts at the end.
RESULT is the JSON file to write: `epochs`, each with its `texts` and `seconds`, and the `predicted` class ids.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    BertForSequenceClassification,
    BertTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

# Predictions are not timed.
_PREDICTION_BATCH = 32

Texts = list[dict[str, Any]]


def main() -> None:
    """Train, and write the results."""
    job, result = json.loads(Path(sys.argv[1]).read_bytes()), Path(sys.argv[2])
    torch.set_num_threads(job["threads"])
    set_seed(job["seed"])
    with np.load(job["texts"], allow_pickle=False) as arrays:
        train, validation = (read_texts(arrays, part) for part in ("train", "validation"))
    # Weights in float32, like the checkpoint; both sides use bfloat16 only in the arithmetic. No dropout of attention
    # weights: this project has none, and attention is faster without it.
    model = BertForSequenceClassification.from_pretrained(
        job["checkpoint"], num_labels=job["classes"], dtype=torch.float32, attention_probs_dropout_prob=0.0
    )
    tokenizer = BertTokenizer(str(Path(job["checkpoint"], "vocab.txt")), model_max_length=job["max_length"])
    padding = {"padding": "max_length", "max_length": job["max_length"]} if job["padding"] == "fixed" else {}
    collator = DataCollatorWithPadding(tokenizer, **padding)
    clock = EpochClock(len(train))
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(model, arguments(job, folder), collator, train, callbacks=[clock])
        trainer.train()
    found: dict[str, Any] = {"epochs": clock.epochs}
    if job["predict"]:
        found["predicted"] = predictions(model, collator, validation)
    result.write_text(json.dumps(found), encoding="utf-8")


def arguments(job: dict[str, Any], folder: str) -> TrainingArguments:
    """Return the arguments; others keep their default: AdamW, clipping at norm 1, no decay of biases and norms."""
    return TrainingArguments(
        output_dir=folder,
        use_cpu=True,
        bf16=True,
        num_train_epochs=job["epochs"],
        per_device_train_batch_size=job["batch"],
        train_sampling_strategy="group_by_length" if job["grouped"] else "random",
        learning_rate=job["rate"],
        lr_scheduler_type="linear",
        warmup_steps=0.1,  # A share of all steps.
        weight_decay=0.01,
        adam_epsilon=1e-6,  # Like BERT and textclf/training/fitting/adamw.py.
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=job["seed"],
    )


def read_texts(arrays: Any, part: str) -> Texts:
    """Read the texts of a part from `<part>_ids` (concatenated), `<part>_lengths` and `<part>_labels`."""
    ends = np.cumsum(arrays[f"{part}_lengths"])[:-1]
    rows = zip(np.split(arrays[f"{part}_ids"], ends), arrays[f"{part}_labels"], strict=True)
    return [{"input_ids": ids.tolist(), "attention_mask": [1] * len(ids), "label": int(label)} for ids, label in rows]


class EpochClock(TrainerCallback):  # type: ignore[misc]
    """Timer of each epoch, without the preparation before the first one."""

    def __init__(self, texts: int) -> None:
        self.texts = texts
        self.epochs: list[dict[str, float]] = []
        self._began = 0.0

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        """Implement TrainerCallback."""
        self._began = time.perf_counter()

    def on_epoch_end(self, *_: Any, **__: Any) -> None:
        """Implement TrainerCallback."""
        self.epochs.append({"texts": self.texts, "seconds": time.perf_counter() - self._began})


def predictions(model: BertForSequenceClassification, collator: DataCollatorWithPadding, texts: Texts) -> list[int]:
    """Predict the class id of each text, in float32."""
    model.eval()
    order = sorted(range(len(texts)), key=lambda at: len(texts[at]["input_ids"]))
    found = [0] * len(texts)
    with torch.inference_mode():
        for start in range(0, len(order), _PREDICTION_BATCH):
            batch = order[start : start + _PREDICTION_BATCH]
            logits = model(**collator([texts[at] for at in batch])).logits
            for at, predicted in zip(batch, logits.argmax(-1).tolist(), strict=True):
                found[at] = predicted
    return found


if __name__ == "__main__":
    main()
