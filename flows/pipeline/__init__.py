"""What the pipelines share, on the Prefect side."""
