"""Reports: ask for one, look at one, fetch its file; and withdraw access with all that was made by it."""
