"""Reports for people: plots as PNG, and model versions and drift as text or HTML."""
