"""HTTP requests and responses: bodies, parsing, rendering, errors, keys, concurrency. Sees no model."""
