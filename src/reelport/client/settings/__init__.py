"""Whom a client speaks to and as whom: settings, keys, profiles, and where secrets live."""
