"""Where the numbers live: tables, loading, snapshots, sample data."""
