"""The client: ask for a report, wait for it, download it whole. Imports nothing of the service."""
