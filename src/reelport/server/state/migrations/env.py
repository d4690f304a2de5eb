"""Alembic runs this file, in the transaction of the connection that it is given."""

from __future__ import annotations

from alembic import context

from reelport.server.state.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transactional_ddl=True,
    render_as_batch=True,
)
context.run_migrations()
