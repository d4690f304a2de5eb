"""The queue: jobs, leases, workers and their supervisor, and the wake-ups between processes."""
