"""From texts to words, wordpiece ids and the key by which two texts are equal; without TensorFlow.

It may import the base modules only, and every package may import it.
"""
