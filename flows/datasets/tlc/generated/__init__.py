"""The rows that `flows/datasets/tlc/generate.py` writes."""
