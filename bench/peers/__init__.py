"""The servers to compare with, as their own tutorials build them: Flask, one model a worker.

Each is a module with create_app(folder), which gunicorn calls in each worker. They import nothing of the
project, and take POST /predict {"text": str} to {"label", "score"} as the project does.
"""
