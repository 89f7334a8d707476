"""Scoring of data sets in shards: which part of the input a shard is, its output file, and what runs the shards."""
