"""Rows for months that TLC did not publish: what `flows/datasets/tlc/generate.py` writes."""
