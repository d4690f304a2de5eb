"""A fleet for trying: PostgreSQL, an object store, API processes behind nginx, workers, all on this machine."""
