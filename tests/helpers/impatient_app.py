"""The app of a gunicorn worker that waits for a client's body for only two seconds, so that tests end sooner."""

from serving.api import request_body
from serving.wsgi import make_application

__all__ = ["make_application"]
request_body._READ_SECONDS = 2.0
