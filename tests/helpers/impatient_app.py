"""App of a gunicorn worker that waits only two seconds for a body, so that tests end sooner."""

from serving.api import request_body
from serving.wsgi import make_application

__all__ = ["make_application"]
request_body._READ_SECONDS = 2.0
