"""The prediction log: its URL, its database and the codec of its features."""
