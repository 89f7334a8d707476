"""What the stages share: the hall (errors, labels, config, files, cli, model_store) and four rooms.

Rooms: data (files to texts and labels), training (the only one that imports TensorFlow),
runtime (texts to predictions), stats (pure functions of arrays) and report (plots and tables for people).
Nothing here imports a stage, serving/ or bench/; the hall and every room but training/ import
and run where TensorFlow is not installed.
"""
