"""The client: ask for a report, wait, download it whole. Imports nothing of the service."""
