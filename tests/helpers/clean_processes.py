"""Processes that are forked from a process without threads.

TensorFlow, OpenVINO and others start threads in the process of the tests. A fork of it copies the locks that these
threads hold, and nobody releases the copies: the child may wait forever.
"""

import multiprocessing
from multiprocessing.context import ForkServerContext

# Imported once, by the process that is forked.
_PRELOADED = ["numpy", "optuna", "scipy.stats", "sqlalchemy.dialects.postgresql.psycopg", "sqlalchemy.dialects.sqlite"]


def clean_processes() -> ForkServerContext:
    """Return the context of multiprocessing whose processes have no threads and no locks of the tests."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context
