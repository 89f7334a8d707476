"""Servers of the peers in Flask, built like in their own tutorials, with one model per worker.

Each module `…_app` has a function create_app, which gunicorn calls in each worker. POST /predict takes {"text": str}
and returns {"label", "score"}, like this project. No module here imports the project.
"""
