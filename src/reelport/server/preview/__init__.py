"""What a finished report shows in a page: its first rows, its totals and its chart."""
