"""The prediction log: rows are made and written in the background."""
