"""A client's settings: the service's address, keys, profiles, and where secrets are kept."""
