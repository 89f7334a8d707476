"""Attacks on a running server, bounded in time and count; earlier checkouts can be attacked for comparison."""
