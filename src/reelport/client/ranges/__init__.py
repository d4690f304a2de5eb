"""Reports over any range: fetch windows that a service takes, and merge them."""
