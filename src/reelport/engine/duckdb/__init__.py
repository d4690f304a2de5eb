"""DuckDB as the engine: a warm session that runs plans, and the CSV file that they are written into."""
