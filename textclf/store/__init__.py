"""Model versions on disk: manifest, store, decision log, promotion hold, promotion. Imports the hall only."""
