"""Linear models on words, which learn in seconds what an encoder needs many minutes for: what is to be beaten.

NB-SVM and NB-LR are those of S. Wang and C. D. Manning, "Baselines and Bigrams: Simple, Good Sentiment and Topic
Classification", ACL 2012; the third is TF-IDF with a linear SVM, as scikit-learn's tutorials have it. All read words
and punctuation marks in lower case, alone and in pairs, and none is tuned to a set.
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

# scikit-learn's own pattern leaves out marks and single letters: "C#" would be nothing, and "!" says something.
WORDS_AND_MARKS = r"\w+|[^\w\s]"
NGRAMS = (1, 2)
# Of the paper: inverse strength of the regularisation, and how far NB-SVM trusts its SVM.
COST = 1.0
BETA = 0.25
# LIBLINEAR's own. scikit-learn's takes up to twice as long, and changed no accuracy by more than .2 points.
TOLERANCE = 0.1

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
# Texts to class ids, int64 [texts].
Predict = Callable[[Sequence[str]], IntArray]


@dataclass(frozen=True)
class Baseline:
    """One way to fit a linear model on words.

    Attributes:
        name: on the command line.
        title: in the table.
        fit: from texts, their class ids, int64 [n], and the number of classes K, to what predicts.
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
    """Logistic regression on features [n, V]."""
    # liblinear's dual solver takes seconds where there are far more features than texts, the others minutes.
    model = LogisticRegression(C=COST, solver="liblinear", dual=True, tol=TOLERANCE, random_state=0)
    model.fit(features, is_class)
    return Weights(model.coef_.ravel(), float(model.intercept_[0]))


def fit_interpolated(features: sparse.csr_matrix, is_class: npt.NDArray[np.bool_]) -> Weights:
    """A linear SVM on features [n, V], drawn towards naive Bayes: w' = (1 - beta) mean|w| + beta w.

    The features are already scaled by their ratios, so that equal weights are naive Bayes. The intercept is drawn
    along, without which the scores of several classes, each against the rest, would not compare.
    """
    model = LinearSVC(C=COST, tol=TOLERANCE, random_state=0)
    model.fit(features, is_class)
    svm = model.coef_.ravel()
    return Weights((1 - BETA) * np.abs(svm).mean() + BETA * svm, BETA * float(model.intercept_[0]))


def _naive_bayes(fit: Callable[[sparse.csr_matrix, npt.NDArray[np.bool_]], Weights]) -> Callable[..., Predict]:
    """What fits a classifier, each class against the rest, on binary features scaled by the ratios of that class."""

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
