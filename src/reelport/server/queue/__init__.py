"""The queue: jobs, leases, workers, their supervisor, wake-ups between processes."""
