"""What the stages share: a hall (errors, options, labels, files, command lines, model versions) and five rooms.

Rooms: data (files to texts and labels), training (encoders and fitting, with TensorFlow), runtime (texts to
predictions), stats (pure functions of arrays) and report (plots and tables for people). Nothing here imports a
stage, serving/ or bench/; the hall and every room but training/ import where TensorFlow is not installed.
"""
