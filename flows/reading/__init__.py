"""A file or URL to record batches: download, file kinds, csv, parquet, casts. Knows no dataset."""
