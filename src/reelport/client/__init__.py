"""The client: ask for a report, wait for it, download it whole. Knows nothing of the service's insides."""
