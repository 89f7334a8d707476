"""Model versions on disk: manifest, store, decision log, promotion hold, promotion. Imports only base modules."""
