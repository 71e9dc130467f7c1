"""`make demo`: the whole pipeline on one machine, with no Docker, no cloud and no account."""
