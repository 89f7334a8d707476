"""The architectures that can be imported; one file has the names and differences of one family."""
