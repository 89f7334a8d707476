"""Processes: launcher, gunicorn, nginx, supervisor, health check."""
