"""Schema evolution: add newly declared columns to an existing table's Delta schema."""

from __future__ import annotations

from deltalake import CommitProperties, Field, PostCommitHookProperties, Schema

from reelport.errors import NewerData
from reelport.facts.log.delta_log import TableVersion, translate_delta_errors
from reelport.facts.schema import delta_schema

NO_HOOKS = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)


def find_missing_columns(now: TableVersion) -> tuple[str, ...]:
    """List the declared columns that the table's log lacks.

    Raises NewerData when the log has columns that this version doesn't declare: rewriting rows would lose them.
    """
    if now.delta is None:
        return ()
    known = [field.name for field in now.delta.schema().fields]
    declared = delta_schema(now.table.name).names
    foreign = [name for name in known if name not in declared]
    if foreign:
        raise NewerData(
            f"{now.folder} has columns that this version doesn't know ({', '.join(foreign)}) and would lose: "
            "change it with the version or tool that added them"
        )
    return tuple(name for name in declared if name not in known)


def add_columns(now: TableVersion, names: tuple[str, ...]) -> None:
    """Commit the columns to the log's schema; the data files don't change."""
    assert now.delta is not None  # noqa: S101 - a table that doesn't exist has no missing columns
    with translate_delta_errors(now.folder):
        now.delta.alter.add_columns(
            [_field(now, name) for name in names],
            commit_properties=CommitProperties(max_commit_retries=0),
            post_commithook_properties=NO_HOOKS,
        )


def _field(now: TableVersion, name: str) -> Field:
    fields = Schema.from_arrow(delta_schema(now.table.name)).fields
    return next(field for field in fields if field.name == name)
