"""Hostile requests: what is sent, how it is sent, and what the server may answer."""
