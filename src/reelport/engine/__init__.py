"""The engine: compiles a query over a snapshot to SQL, and runs it into a CSV file.

Knows no HTTP and no jobs.
"""
