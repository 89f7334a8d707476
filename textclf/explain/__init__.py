"""Why a text got its label: a value for each word and class, from the model that predicted.

It needs numpy only, and serving may import it.
"""
