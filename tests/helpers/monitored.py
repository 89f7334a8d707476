"""Input of monitoring: texts of films and products, the prediction log of a tiny version, and stored feedback."""

import csv
from datetime import UTC, datetime

from tiny_engine import tiny_reviews

from textclf.data.feedback_index import INDEX, IndexEntry
from textclf.data.prediction_log.log import PredictionLog, logged_predictions
from textclf.drift.reference import REFERENCE_FILE, load_reference
from textclf.runtime.feature_extraction import text_features
from textclf.runtime.loading import load_predictor


def films(count, seed=2):
    return [text for text, _ in tiny_reviews(count, seed)]


def products(count, seed=2):
    return [text for text, _ in tiny_reviews(count, seed, of_films=False)]


def log_texts(store, folder, texts, times, version_id=None):
    """Log the predictions of texts like the server; return the URL of the log."""
    url = f"sqlite:///{folder}/log/predictions.sqlite"
    predictor = load_predictor(store)
    version = store / "versions" / predictor.version_id
    features = text_features(predictor, texts, load_reference(version / REFERENCE_FILE).projection)
    labels = [predictor.class_names[at] for at in features.predicted]
    log = PredictionLog(url)
    log.append(logged_predictions(times, version_id or predictor.version_id, labels, features))
    log.close()
    return url


def store_reviews(folder, texts, label_of, *, audit=False, moment=None, source="web", begin=0):
    """Store reviews like POST /feedback."""
    moment = datetime.now(UTC) if moment is None else moment
    with open(made_folder(folder) / INDEX, "a", encoding="utf-8") as index:
        for at, text in enumerate(texts, begin):
            label = label_of(at)
            path = made_folder(folder / "train" / label) / f"r{at}.txt"
            path.write_text(text, encoding="utf-8")
            index.write(IndexEntry(path.stem, moment.isoformat(), label, source, "v", audit).to_line() + "\n")
    return folder


def made_folder(folder):
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_table(path, texts):
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["text"], *([text] for text in texts)])
