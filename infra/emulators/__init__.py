"""Emulators of Cloud Storage and BigQuery with the calls that Taxiway and its tests make."""
