"""Baselines: linear models on words, which train in seconds.

NB-SVM and NB-LR are from S. Wang and C. D. Manning, "Baselines and Bigrams: Simple, Good Sentiment and Topic
Classification", ACL 2012; the third is TF-IDF with a linear SVM, like in scikit-learn's tutorials. Features are
lower-cased words and punctuation marks, alone and in pairs. No baseline is tuned to a set.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from textclf.training.linear_stage_training import log_count_ratios

# scikit-learn's own pattern drops punctuation and single letters, such as "C#" and "!".
WORDS_AND_MARKS = r"\w+|[^\w\s]"
NGRAMS = (1, 2)
# Values of the paper: inverse strength of the regularisation, and the weight of the SVM in NB-SVM.
COST = 1.0
BETA = 0.25
# LIBLINEAR's default. scikit-learn's takes up to twice as long and changed no accuracy by more than 0.2 points.
TOLERANCE = 0.1

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
# Texts to class ids, int64 [texts].
Predict = Callable[[Sequence[str]], IntArray]


@dataclass(frozen=True)
class Baseline:
    """One way to fit a linear model on words.

    Attributes:
        name: name on the command line.
        title: title in tables.
        fit: takes texts, class ids (int64 [n]) and the number of classes; returns a predict function.
    """

    name: str
    title: str
    fit: Callable[[Sequence[str], IntArray, int], Predict]


@dataclass(frozen=True, eq=False)
class Weights:
    """A linear score: features @ coefficients + intercept; coefficients are float64 [V]."""

    coefficients: FloatArray
    intercept: float


def fit_logistic(features: sparse.csr_matrix, is_class: npt.NDArray[np.bool_]) -> Weights:
    """Fit a logistic regression on features [n, V]."""
    # With more features than texts, liblinear's dual solver takes seconds; the other solvers take minutes.
    model = LogisticRegression(C=COST, solver="liblinear", dual=True, tol=TOLERANCE, random_state=0)
    model.fit(features, is_class)
    return Weights(model.coef_.ravel(), float(model.intercept_[0]))


def fit_interpolated(features: sparse.csr_matrix, is_class: npt.NDArray[np.bool_]) -> Weights:
    """Fit a linear SVM on features [n, V], interpolated with naive Bayes: w' = (1 - beta) mean|w| + beta w.

    The features are scaled by their log-count ratios: equal weights are naive Bayes. The intercept is scaled too, to
    make the one-vs-rest scores of several classes comparable.
    """
    model = LinearSVC(C=COST, tol=TOLERANCE, random_state=0)
    model.fit(features, is_class)
    svm = model.coef_.ravel()
    return Weights((1 - BETA) * np.abs(svm).mean() + BETA * svm, BETA * float(model.intercept_[0]))


def _naive_bayes(fit: Callable[[sparse.csr_matrix, npt.NDArray[np.bool_]], Weights]) -> Callable[..., Predict]:
    """Return a fit function for one-vs-rest classifiers on binary features, scaled by the ratios of each class."""

    def fitted(texts: Sequence[str], labels: IntArray, classes: int) -> Predict:
        vectorizer = CountVectorizer(binary=True, ngram_range=NGRAMS, token_pattern=WORDS_AND_MARKS, dtype=np.float32)
        features = vectorizer.fit_transform(texts)  # [n, V]
        members = [1] if classes == 2 else range(classes)
        coefficients, intercepts = [], []
        for label_id in members:
            ratios = log_count_ratios(features, labels == label_id)
            weights = fit(features @ sparse.diags_array(ratios), labels == label_id)
            coefficients.append(weights.coefficients * ratios)
            intercepts.append(weights.intercept)

        def predict(new: Sequence[str]) -> IntArray:
            scores = vectorizer.transform(new) @ np.stack(coefficients, axis=1) + intercepts  # [texts, members]
            ids = scores[:, 0] > 0 if classes == 2 else scores.argmax(axis=1)
            return np.asarray(ids, np.int64)

        return predict

    return fitted


def _tf_idf_svm(texts: Sequence[str], labels: IntArray, _classes: int) -> Predict:
    vectorizer = TfidfVectorizer(ngram_range=NGRAMS, token_pattern=WORDS_AND_MARKS, sublinear_tf=True)
    model = LinearSVC(random_state=0).fit(vectorizer.fit_transform(texts), labels)
    return lambda new: np.asarray(model.predict(vectorizer.transform(new)), np.int64)


BASELINES = (
    Baseline("nb-lr", "NB-LR", _naive_bayes(fit_logistic)),
    Baseline("nb-svm", "NB-SVM", _naive_bayes(fit_interpolated)),
    Baseline("tf-idf-svm", "TF-IDF + linear SVM", _tf_idf_svm),
)
