"""Reports: ask for one, query its status, find its file, and withdraw access."""
