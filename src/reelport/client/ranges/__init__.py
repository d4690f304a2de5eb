"""Reports over any range: cut into windows that a service takes, merged into the answer that it would give at once."""
