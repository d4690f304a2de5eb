"""`user`: the people of organizations, who sign in with an e-mail address and a password."""

from __future__ import annotations

import getpass
import sys
from datetime import UTC, datetime
from typing import Annotated, Literal

from cyclopts import App, Parameter

from reelport.cli.output.listing import PrintJson, print_fields, print_list
from reelport.cli.service_commands.access import Data, open_state
from reelport.errors import UsageError

USER = App(name="user")

Email = Annotated[str, Parameter(help="The address that the user signs in with.")]
FromStdin = Annotated[
    bool, Parameter(help="Read the password from the first line of standard input, not from the terminal.")
]
_WORDS = {None: "no", "viewer": "yes", "viewer-without-revenue": "without-revenue"}
"""Whether an operator may see the whole platform, by the role as which it does."""


def _read_password(from_stdin: bool) -> str:
    # Never from an option: a command line is shown to all.
    if from_stdin:
        password = sys.stdin.readline().removesuffix("\n").removesuffix("\r")
        if not password:
            raise UsageError("The first line of standard input is empty: the password belongs there.")
        return password
    if not sys.stdin.isatty():
        raise UsageError("There is no terminal to ask for the password: pipe it in, with --password-stdin.")
    try:
        password, again = getpass.getpass("Password: ", sys.stderr), getpass.getpass("Again: ", sys.stderr)
    except EOFError:
        raise UsageError("No password was given: nothing was changed.") from None
    if again != password:
        raise UsageError("The two passwords differ: nothing was changed.")
    return password


@USER.command(name="add")
def add_user(
    *,
    org: Annotated[str | None, Parameter(help="The organization of the user; not for an operator.")] = None,
    email: Email,
    role: Annotated[
        Literal["owner", "analyst", "viewer", "viewer-without-revenue", "operator"],
        Parameter(
            help="viewer (sees numbers and reports), analyst (asks and shares too), owner (sees keys and people too), "
            "or operator (of the platform: no partner's numbers)."
        ),
    ] = "analyst",
    password_stdin: FromStdin = False,
    json: PrintJson = False,
    data: Data = None,
) -> None:
    """Add a user to an organization, with a password from terminal or standard input.

    Example: echo "$PASSWORD" | reelport user add --org acme --email ann@acme.example --password-stdin

    Example: echo "$PASSWORD" | reelport user add --role operator --email olga@platform.example --password-stdin
    """
    from reelport.server.access import organizations, users

    with open_state(data) as (_, db):
        if org is not None:
            organizations.get_organization(db, org)  # before the password is asked for
        added = users.add_user(db, org, email, role, _read_password(password_stdin), datetime.now(UTC))
    print_fields({"user": added.email, "organization": org, "role": added.role, "id": added.id}, as_json=json)


@USER.command(name="list")
def list_users(
    *,
    org: Annotated[str | None, Parameter(help="Only this organization's.")] = None,
    json: PrintJson = False,
    data: Data = None,
) -> None:
    """List the users.

    Example: reelport user list --org acme
    """
    from reelport.server.access import users

    with open_state(data, only_read=True) as (_, db):
        found = users.list_users(db, org)
    rows = [
        {
            "user": each.email,
            "organization": each.organization,
            "role": each.role,
            "channels": None if each.channels is None else len(each.channels),
            "may_look": each.may_look if each.role == "operator" else None,
            "may_see_platform": _WORDS[each.platform_role] if each.role == "operator" else None,
            "id": each.id,
            "created": each.created_at,
        }
        for each in found
    ]
    whose = "There is no user" if org is None else f"{org} has no user"
    print_list(rows, as_json=json, none=f"{whose} yet: `reelport user add --org {org or 'NAME'}` adds one.")


@USER.command(name="password")
def change_password(
    email: Annotated[str, Parameter(help="The address of the user.")],
    *,
    password_stdin: FromStdin = False,
    json: PrintJson = False,
    data: Data = None,
) -> None:
    """Change a user's password, and end all tokens of the old one at once.

    Example: echo "$PASSWORD" | reelport user password ann@acme.example --password-stdin
    """
    from reelport.server.access import users

    with open_state(data) as (_, db):
        users.get_user_id(db, email)  # before the password is asked for
        users.change_password(db, email, _read_password(password_stdin))
    print_fields({"user": users.normalize_email(email), "password": "changed"}, as_json=json)


@USER.command(name="may-look")
def allow_looks(
    email: Annotated[str, Parameter(help="The address of the operator.")],
    allowed: Annotated[Literal["yes", "no"], Parameter(help="Whether the operator may look at organizations.")],
    *,
    json: PrintJson = False,
    data: Data = None,
) -> None:
    """Let an operator see an organization's Studio as its people do, or end that.

    Such a look is read-only, lasts half an hour, and stands with its reason in the organization's audit log.

    Example: reelport user may-look olga@platform.example yes
    """
    from reelport.server.access import operator_access, users

    with open_state(data) as (_, db):
        operator_access.allow_looks(db, email, allowed=allowed == "yes")
    print_fields({"user": users.normalize_email(email), "may_look": allowed}, as_json=json)


@USER.command(name="may-see-platform")
def allow_platform(
    email: Annotated[str, Parameter(help="The address of the operator.")],
    allowed: Annotated[
        Literal["yes", "without-revenue", "no"],
        Parameter(help="Whether the operator may see the numbers of all channels together."),
    ],
    *,
    json: PrintJson = False,
    data: Data = None,
) -> None:
    """Let an operator see the numbers of the whole platform in Studio, or end that.

    They are those of all channels together and of each organization, with earnings unless `without-revenue`.

    Example: reelport user may-see-platform olga@platform.example without-revenue
    """
    from reelport.server.access import operator_access, users
    from reelport.server.access.roles import Role

    role = next(role for role, word in _WORDS.items() if word == allowed)
    with open_state(data) as (_, db):
        operator_access.allow_platform(db, email, Role(role) if role else None)
    print_fields({"user": users.normalize_email(email), "may_see_platform": allowed}, as_json=json)


@USER.command(name="factors")
def show_factors(
    email: Annotated[str, Parameter(help="The address of the user.")],
    *,
    reset: Annotated[bool, Parameter(help="Remove authenticator, passkeys and recovery codes.")] = False,
    json: PrintJson = False,
    data: Data = None,
) -> None:
    """Show whether a user has a second factor, or reset it for somebody who lost it.

    Example: reelport user factors ann@acme.example --reset
    """
    from reelport.server.access import second_factors, users

    with open_state(data, only_read=not reset) as (_, db):
        if reset:
            second_factors.reset_factors_by_command(db, email)
        factors = second_factors.read_factors(db, users.get_user_id(db, email))
    shown = {"user": users.normalize_email(email), "authenticator": factors.added_at}
    counts = {"passkeys": len(factors.passkeys), "recovery_codes": factors.recovery_codes}
    print_fields({**shown, **counts}, as_json=json)


@USER.command(name="remove")
def remove_user(
    email: Annotated[str, Parameter(help="The address of the user.")], *, json: PrintJson = False, data: Data = None
) -> None:
    """Remove a user, and end the user's tokens and shared links.

    Example: reelport user remove ann@acme.example
    """
    from reelport.server.access import users

    with open_state(data) as (_, db):
        links = users.remove_user(db, email)
    print_fields({"user": users.normalize_email(email), "removed": True, "shared_views": links}, as_json=json)
