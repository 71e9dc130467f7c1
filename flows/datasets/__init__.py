"""What data is: its columns, where it comes from, and what its rows must be."""
