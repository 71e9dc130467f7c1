"""The datasets: their columns, sources, rules and checks, and how a file becomes clean rows."""
