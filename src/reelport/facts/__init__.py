"""Facts in Delta tables: their columns, storage, loading, snapshots and sample data."""
