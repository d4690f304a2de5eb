"""Migrations of the state database by Alembic; each is a file in `versions`."""
