"""Stand-ins for Google Cloud on one machine: Cloud Storage and BigQuery, as far as Taxiway and its tests use them."""
