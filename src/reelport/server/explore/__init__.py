"""The explorer: what a view is, its numbers, and what a report's file shows. No HTML."""
