"""The data itself: where a month is, what its columns mean, how it is read and cleaned. Knows nothing of Prefect."""
