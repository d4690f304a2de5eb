"""From a query and a snapshot to SQL and a CSV file; knows no HTTP and no jobs."""
