"""The explorer: what a view of the numbers is, and its numbers; and what a report's file shows. No HTML."""
