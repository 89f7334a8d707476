"""The reasons why a text is unusual (textclf.runtime.unusual), and what they mean."""

# The first that holds: no letters; few frequent wordpieces; surprising although these are there.
NO_WORDS, UNKNOWN_WORDS, FAR_FROM_TRAINING = "no_words", "unknown_words", "far_from_training"
MEANINGS = {
    NO_WORDS: "the text has no letters",
    UNKNOWN_WORDS: "the words are not those of the training texts",
    FAR_FROM_TRAINING: "the text is far from the training texts",
}
REASONS = tuple(MEANINGS)
