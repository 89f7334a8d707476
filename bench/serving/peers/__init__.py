"""What to compare with, as its own tutorials build it: servers in Flask, one model a worker, and a trainer.

The servers (`…_app`) are modules with create_app(folder), which gunicorn calls in each worker. They take POST /predict
{"text": str} to {"label", "score"} as the project does. Nothing here imports anything of the project.
"""
