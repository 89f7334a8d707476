"""Attacks on a running server, bounded in time and count; each is also run against an earlier checkout for comparison."""
