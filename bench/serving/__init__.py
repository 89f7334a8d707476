"""Throughput, latency and memory of servers and engines."""
