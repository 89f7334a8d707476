"""Decides by a probe whether class weights help."""

import click
import numpy as np

from textclf.data.splits import Split
from textclf.phases import announce, rough_wordpieces
from textclf.training.classifier import ids_encoder
from textclf.training.encoders.preprocessing import TextPreprocessing, tokenize_texts
from textclf.training.fitting.probe import recalls_by_weights
from textclf.training.fitting.training_loop import ids_to_logits, predict_logits
from textclf.training.tf_setup import tf_keras

# To announce the duration: wordpieces per second of the encoder without its gradient, on two cores.
ENCODING_SPEED = 5000


def do_weights_help(train: Split, classes: int, preprocessing: TextPreprocessing, classifier: tf_keras.Model) -> bool:
    """Whether class weights raise the mean recall of a probe on `train`, by cross-validation; prints why."""
    if np.bincount(train.labels, minlength=classes).min() < 2:
        click.echo("class weights: off, because a class has too few texts to try them")
        return False
    announce("trying class weights", rough_wordpieces(train.texts, 512) / ENCODING_SPEED)
    texts = tokenize_texts(preprocessing, train.texts)
    encode = ids_to_logits(ids_encoder(classifier, "mean"))
    vectors = predict_logits(encode, texts, preprocessing.padding_id, "probe")
    without, balanced = recalls_by_weights(vectors, train.labels, classes, train.weights)
    does_help, recalls = balanced > without, f"{balanced:.1%} with them and {without:.1%} without"
    click.echo(f"class weights: {'on' if does_help else 'off'}, because the mean recall of a probe is {recalls}")
    return does_help
