"""Stores: each replaces one partition in one atomic step and keeps a ledger. No Prefect here."""
