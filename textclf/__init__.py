"""What the stages share: the hall (errors, labels, config, files, cli, model_store) and four rooms.

Rooms: data (files to texts and labels), training (the only one that imports TensorFlow),
runtime (texts to predictions) and stats (pure functions of arrays).
Nothing here imports a stage, serving/ or bench/; the hall and every room but training/ import
and run where TensorFlow is not installed.
"""
