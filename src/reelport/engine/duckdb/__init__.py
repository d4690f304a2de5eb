"""DuckDB as the engine: runs plans, and writes their rows into a CSV file."""
