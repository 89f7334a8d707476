"""shap on a Hugging Face pipeline, as its documentation uses it, in a process of its own.

    python pipeline_worker.py FOLDER MAX_LENGTH

Each line of the input is a JSON object with `text` and `evaluations`. For each the worker writes {"seconds": S,
"evaluations": N}: the time of one explanation, and the number of masked texts that the pipeline read.
"""

import importlib
import json
import sys
import time
from typing import Any

shap: Any = importlib.import_module("shap")
transformers: Any = importlib.import_module("transformers")


class CountedPipeline(transformers.TextClassificationPipeline):  # type: ignore[misc]
    """A pipeline that counts its texts."""

    texts = 0

    def __call__(self, inputs: Any, **options: Any) -> Any:
        """Predict texts."""
        self.texts += 1 if isinstance(inputs, str) else len(inputs)
        return super().__call__(inputs, **options)


def main(folder: str, max_length: int) -> None:
    """Explain texts until the input ends."""
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.model_max_length = max_length
    classify = CountedPipeline(model=model, tokenizer=tokenizer, device="cpu", top_k=None, truncation=True)
    explainer = shap.Explainer(classify)
    for line in sys.stdin:
        job = json.loads(line)
        classify.texts = 0
        start = time.perf_counter()
        explainer([job["text"]], max_evals=job["evaluations"], silent=True)
        answer = {"seconds": time.perf_counter() - start, "evaluations": classify.texts}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
