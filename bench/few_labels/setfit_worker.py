"""SetFit on one sample, with its defaults and the number of pairs of its paper.

    python setfit_worker.py JOB RESULT

JOB is a JSON file: `checkpoint`, a folder for sentence-transformers; `texts` and their `labels`; the `tested` texts;
`max_length`; `threads`; `seed`; `folder`, for temporary files. RESULT is the JSON file to write: the `seconds` of
training, and the `probabilities` of the tested texts.
"""

import json
import sys
import time
from pathlib import Path

import torch
from datasets import Dataset
from setfit import SetFitModel, Trainer, TrainingArguments

# Positive and as many negative pairs for each text (Tunstall et al. 2022). By default all pairs are taken, whose number
# grows with the square of the texts: hours for 64 labels per class on two cores.
_PAIRS_PER_TEXT = 20


def main() -> None:
    """Train, and write the probabilities."""
    job, result = json.loads(Path(sys.argv[1]).read_bytes()), Path(sys.argv[2])
    torch.set_num_threads(job["threads"])
    model = SetFitModel.from_pretrained(job["checkpoint"], device="cpu")
    model.model_body.max_seq_length = job["max_length"]
    arguments = TrainingArguments(
        output_dir=job["folder"],
        num_iterations=_PAIRS_PER_TEXT,
        seed=job["seed"],
        report_to="none",
        save_strategy="no",
        show_progress_bar=False,
    )
    began = time.perf_counter()
    train = Dataset.from_dict({"text": job["texts"], "label": job["labels"]})
    Trainer(model=model, args=arguments, train_dataset=train).train()
    seconds = time.perf_counter() - began
    probabilities = model.predict_proba(job["tested"], as_numpy=True)
    result.write_text(json.dumps({"seconds": seconds, "probabilities": probabilities.tolist()}), encoding="utf-8")


if __name__ == "__main__":
    main()
