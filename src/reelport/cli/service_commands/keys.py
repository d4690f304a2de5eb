"""`key`: the API keys of organizations."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from cyclopts import App, Parameter

from reelport.catalog import Scope
from reelport.cli.arguments.options import PrintJson
from reelport.cli.output.listing import print_fields, print_list
from reelport.cli.service_commands.access import Data, Org, open_state, split_names

KEY = App(name="key", help="API keys of organizations.")


@KEY.command(name="create")
def create_key(
    *,
    org: Org,
    permissions: Annotated[list[str], Parameter(negative=(), help=f"Scopes by commas: {', '.join(Scope)}.")],
    channels: Annotated[
        list[str] | None, Parameter(negative=(), help="Slugs or ids by commas: read these channels only.")
    ] = None,
    kind: Annotated[
        Literal["private", "public"],
        Parameter(help="private: gets tokens by its secret alone; public: with a user's password."),
    ] = "private",
    json: PrintJson = False,
    data: Data = None,
) -> None:
    """Create a key; print its id and its secret, which can't be had again.

    Example: reelport key create --org acme --permissions create_reports,access_ads
    """
    from reelport.server.access import channel_registry
    from reelport.server.state.secret_fingerprint import require_same_secret

    with open_state(data) as (settings, db):
        limit = None if channels is None else split_names(channels)
        key = channel_registry.create_key(
            db,
            settings,
            require_same_secret(db, settings),
            org,
            split_names(permissions),
            datetime.now(UTC),
            channels=limit,
            kind=kind,
        )
    print_fields({"id": key.id, "secret": key.secret}, as_json=json)


@KEY.command(name="list")
def list_keys(
    *,
    org: Annotated[str | None, Parameter(help="Only this organization's.")] = None,
    json: PrintJson = False,
    data: Data = None,
) -> None:
    """List the keys.

    Example: reelport key list --org acme
    """
    from reelport.server.access import channel_registry, keys

    with open_state(data) as (settings, db):
        found = keys.list_keys(db, org)
        limited = any(key.channels for key in found)
        slugs = {each.id: each.slug for each in channel_registry.list_channels(settings)} if limited else {}
    rows = [
        {
            "id": key.id,
            "organization": key.organization,
            "kind": key.kind,
            "permissions": key.permissions,
            "channels": "all" if key.channels is None else tuple(slugs.get(id_, id_) for id_ in key.channels),
            "created": key.created_at,
            "revoked": key.revoked_at,
        }
        for key in found
    ]
    whose = "There is no key" if org is None else f"{org} has no key"
    print_list(rows, as_json=json, none=f"{whose} yet: `reelport key create --org {org or 'NAME'}` makes one.")


@KEY.command(name="revoke")
def revoke_key(
    id: Annotated[str, Parameter(help="The id of the key.")],  # noqa: A002 - the argument's name
    *,
    json: PrintJson = False,
    data: Data = None,
) -> None:
    """End a key and every token of it at once.

    Example: reelport key revoke KEY
    """
    from reelport.server.access import keys

    with open_state(data) as (_, db):
        ended = keys.revoke_key(db, id, datetime.now(UTC))
    print_fields({"id": id, "revoked": "now" if ended else "before"}, as_json=json)
