"""Scoring in shards: processes, one process and Ray on one machine."""
