"""Brings a data directory to this version, and tries beforehand what that does."""
