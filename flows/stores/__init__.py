"""Where months are kept: each store replaces one month in one atomic step and writes its ledger. No Prefect here."""
