"""The trip records of the New York City Taxi and Limousine Commission (TLC)."""
