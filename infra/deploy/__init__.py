"""The deployment engine: what the code declares, what the server has, and the steps in between."""
