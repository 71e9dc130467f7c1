"""Rows for months that TLC did not publish: what `flows/trips/generate.py` writes."""
