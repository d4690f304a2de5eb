"""The explorer: what a view of the numbers is, and its numbers. No HTML."""
