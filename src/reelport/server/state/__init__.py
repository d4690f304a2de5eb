"""The state: database, tables, migrations, counters, expiry clock, fingerprint."""
