"""Request middleware, access log and Prometheus metrics."""
