"""Tiny SavedModels that count words: logit k counts the k-th word of the text."""

from textclf.training.tf_setup import tf

TWO = ("bad", "good")
THREE = ("bad", "fair", "good")


def counts_of_words(texts, words):
    """Return how often each word occurs in each text, float32 [batch, words]."""
    tokens = tf.strings.split(tf.strings.lower(texts))
    return tf.stack(
        [tf.reduce_sum(tf.cast(tokens == word, tf.float32), axis=1) for word in words],
        axis=1,
    )


def save_word_model(folder, words=TWO, outputs=None, counts=True, input_shape=(None,), name="text"):
    """Save a SavedModel under `folder` and return the folder.

    `outputs` maps logits [batch, words] to the signature's outputs (default: logits and probabilities);
    `counts` adds the signature token_counts, which counts each word as a wordpiece.
    """
    module = tf.Module()
    spec = tf.TensorSpec(input_shape, tf.string, name=name)
    outputs = outputs or (lambda logits: {"logits": logits, "probabilities": tf.nn.softmax(logits)})
    # A variable, because a model that is dropped too early loses its variables first.
    module.scale = tf.Variable(1.0)

    @tf.function(input_signature=[spec])
    def serve(texts):
        return outputs(counts_of_words(tf.reshape(texts, [-1]), words) * module.scale)

    signatures = {"serving_default": serve}
    if counts:

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
        def token_counts(text):
            return {"token_counts": tf.cast(tf.strings.split(text).row_lengths(), tf.int32) + 2}

        signatures["token_counts"] = token_counts
    tf.saved_model.save(module, str(folder), signatures=signatures)
    return folder
