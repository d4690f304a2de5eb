"""Reports over any range: fetch windows of days that a service takes, and merge them into one report."""
