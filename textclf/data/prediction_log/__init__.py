"""The prediction log in SQLite or PostgreSQL: its URL, its tables and the codec of its feature columns."""
