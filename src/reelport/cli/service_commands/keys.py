"""`key`: the API keys of organizations."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from reelport.catalog import Scope
from reelport.cli.arguments.options import has_terminal, is_confirmed, split_words
from reelport.cli.output.listing import PrintJson, print_fields, print_list
from reelport.cli.service_commands.access import Data, Org, Yes, open_state
from reelport.errors import UsageError
from reelport.wording import format_count

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reelport.server.access.keys import Key

KEY = App(name="key")

KeyId = Annotated[str, Parameter(help="The id of the key.")]


@KEY.command(name="create")
def create_key(
    *,
    org: Org,
    permissions: Annotated[list[str], Parameter(help=f"Scopes by commas: {', '.join(Scope)}.")],
    channels: Annotated[
        list[str] | None, Parameter(help="Slugs or ids, separated by commas: read only these channels.")
    ] = None,
    kind: Annotated[
        Literal["private", "public"],
        Parameter(help="private: gets tokens by its secret; public: also needs a user's password."),
    ] = "private",
    name: Annotated[str, Parameter(help="Its purpose, shown in lists.")] = "",
    expires: Annotated[
        str | None, Parameter(help="Days until it expires, or the date (UTC) from which it is refused.")
    ] = None,
    json: PrintJson = False,
    data: Data = None,
) -> None:
    """Create a key; print its id and, only now, its secret.

    Example: reelport key create --org acme --permissions create_reports,access_ads

    Example: reelport key create --org acme --permissions create_reports --name "Nightly export" --expires 90
    """
    from reelport.server.access import channel_registry, keys
    from reelport.server.access.audit_log import Actor
    from reelport.server.access.keys import KeyDetails
    from reelport.server.state.secret_fingerprint import require_same_secret

    with open_state(data) as (settings, db):
        limit = None if channels is None else split_words(channels)
        key = keys.create_key(
            db,
            require_same_secret(db, settings),
            org,
            split_words(permissions),
            datetime.now(UTC),
            channels=limit,
            slugs=channel_registry.read_slugs(settings) if limit else None,
            kind=kind,
            details=KeyDetails(name, expires, Actor.of_command()),
        )
    print_fields({"id": key.id, "secret": key.secret}, as_json=json)


@KEY.command(name="list")
def list_keys(
    *,
    org: Annotated[str | None, Parameter(help="Only this organization's.")] = None,
    json: PrintJson = False,
    data: Data = None,
) -> None:
    """List the keys: who made them, last use, expiry, and warnings.

    Example: reelport key list --org acme
    """
    from reelport.server.access import channel_registry, keys

    with open_state(data, only_read=True) as (settings, db):
        found = keys.list_keys(db, org)
        limited = any(key.channels for key in found)
        slugs = channel_registry.read_slugs(settings) if limited else {}
    rows = [_make_row(key, slugs, datetime.now(UTC)) for key in found]
    whose = "There is no key" if org is None else f"{org} has no key"
    print_list(rows, as_json=json, none=f"{whose} yet: `reelport key create --org {org or 'NAME'}` makes one.")


def _make_row(key: Key, slugs: Mapping[str, str], now: datetime) -> dict[str, object]:
    from reelport.server.access.keys import list_marks

    return {
        "id": key.id,
        "name": key.name,
        "organization": key.organization,
        "kind": key.kind,
        "permissions": key.permissions,
        "channels": "all" if key.channels is None else tuple(slugs.get(id_, id_) for id_ in key.channels),
        "created": key.created_at,
        "created_by": key.created_by,
        "last_used": key.last_used_at,
        "expires": key.expires_at,
        "revoked": key.revoked_at,
        "marks": list_marks(key, now),
    }


@KEY.command(name="rename")
def rename_key(
    id: KeyId,  # noqa: A002 - the argument's name
    name: Annotated[str, Parameter(help="Its purpose; '' removes the name.")],
    *,
    json: PrintJson = False,
    data: Data = None,
) -> None:
    """Give a key another name.

    Example: reelport key rename KEY "Nightly export"
    """
    from reelport.server.access import keys
    from reelport.server.access.audit_log import Actor
    from reelport.server.state.database import writing

    with open_state(data) as (_, db), writing(db) as connection:
        before = keys.rename_key(connection, id, name, Actor.of_command(), datetime.now(UTC))
    print_fields({"id": id, "name": name, "was": before.name}, as_json=json)


@KEY.command(name="rotate")
def rotate_key(
    id: KeyId,  # noqa: A002 - the argument's name
    *,
    grace: Annotated[
        int | None, Parameter(help="Hours that the old secret works after the first use of the new one, 0 to 720.")
    ] = None,
    cancel: Annotated[bool, Parameter(help="Cancel a second secret that was not used yet.")] = False,
    json: PrintJson = False,
    data: Data = None,
) -> None:
    """Make a second secret for a key and print it, only now.

    Both secrets work. After the first use of the new one, the old one works for the grace (24 hours).

    Example: reelport key rotate KEY --grace 48

    Example: reelport key rotate KEY --cancel
    """
    if cancel and grace is not None:
        raise UsageError("--grace is for a new secret, --cancel takes one back: give one of them.")
    from reelport.server.access import key_rotation
    from reelport.server.access.audit_log import Actor
    from reelport.server.state.database import writing
    from reelport.server.state.secret_fingerprint import require_same_secret

    if cancel:
        with open_state(data) as (_, db), writing(db) as connection:
            key_rotation.cancel_rotation(connection, id, Actor.of_command(), datetime.now(UTC))
        print_fields({"id": id, "rotation": "cancelled"}, as_json=json)
        return
    hours = key_rotation.DEFAULT_GRACE_HOURS if grace is None else grace
    with open_state(data) as (settings, db):
        secret = require_same_secret(db, settings)
        with writing(db) as connection:
            new = key_rotation.rotate_key(connection, secret, id, hours, Actor.of_command(), datetime.now(UTC))
    print_fields({"id": new.id, "secret": new.secret, "grace_hours": hours}, as_json=json)
    longer = format_count(hours, "hour")
    print(f"The old secret is valid until the first use of the new secret, and for {longer} after it.", file=sys.stderr)


@KEY.command(name="revoke")
def revoke_key(
    id: KeyId,  # noqa: A002 - the argument's name
    *,
    yes: Yes = False,
    json: PrintJson = False,
    data: Data = None,
) -> None:
    """Revoke a key with all its tokens, at once and for ever. Asks first at a terminal.

    Example: reelport key revoke KEY
    """
    from reelport.server.access import keys
    from reelport.server.access.audit_log import Actor
    from reelport.server.state.database import reading

    with open_state(data) as (_, db):
        with reading(db) as connection:
            keys.find_key(connection, id)  # nobody is asked about a key that isn't there
        if not yes and has_terminal() and not is_confirmed(f"End the key {id}, its tokens and its links, for good?"):
            return
        ended = keys.revoke_key(db, id, datetime.now(UTC), Actor.of_command())
    print_fields({"id": id, "revoked": "now" if ended else "before"}, as_json=json)
