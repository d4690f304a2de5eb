"""The queue: jobs, leases, workers and their supervisor."""
