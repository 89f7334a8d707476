"""From files to texts and labels, and back: downloads, archives, tables, datasets, stored reviews.

Everything here reads or writes files and checks what it read; it knows nothing of models.
May import the base modules and textclf.drift; never TensorFlow or another package.
"""
