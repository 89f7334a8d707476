"""Work that is killed at random moments, and what must be true of its files afterwards."""
