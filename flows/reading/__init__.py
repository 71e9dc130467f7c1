"""A file or a URL as record batches. Nothing here knows a dataset."""
