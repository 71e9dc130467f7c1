"""The embedded stack: PostgreSQL, a Prefect server and the emulators as processes of this machine."""
