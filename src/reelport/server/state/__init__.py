"""The state: its database and tables, counters, expiry clock, the secret's fingerprint."""
