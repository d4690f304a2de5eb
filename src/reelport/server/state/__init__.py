"""The state: its database, tables and migrations, counters, the expiry clock and the secret's fingerprint."""
