"""Every path of Studio: one table of path, method, endpoint, and the right that it needs."""

from __future__ import annotations

from dataclasses import dataclass

from reelport.catalog.studio_pages import SUBJECTS
from reelport.server.http.service import ExactRoute
from reelport.server.studio import (
    account,
    audit,
    explore,
    keys,
    operator,
    operator_numbers,
    overview,
    pages,
    people,
    report_form,
    reports,
    saved_and_shared,
)
from reelport.server.studio.guard import Endpoint, Pool, guard
from reelport.server.studio.rights import Right


@dataclass(frozen=True, slots=True)
class StudioRoute:
    """A path with its method: GET shows (HEAD, too), POST changes."""

    method: str
    path: str
    endpoint: Endpoint
    right: Right
    pool: Pool = Pool.ANY
    is_embedded: bool = False  # stands within pages of other sites: it knows of no cookie, and sets none


ROUTES: tuple[StudioRoute, ...] = (
    StudioRoute("GET", "/studio", account.show_start, Right.ENTER),
    StudioRoute("GET", "/studio/static/{name}", pages.answer_asset, Right.ENTER),
    StudioRoute("GET", "/studio/sign-in", account.show_sign_in, Right.ENTER),
    StudioRoute("POST", "/studio/sign-in", account.sign_in, Right.ENTER, Pool.LOGINS),
    StudioRoute("GET", "/studio/sign-in/code", account.show_code, Right.ENTER),
    StudioRoute("POST", "/studio/sign-in/code", account.sign_in_by_code, Right.ENTER, Pool.LOGINS),
    StudioRoute("POST", "/studio/sign-in/passkey", account.sign_in_by_passkey, Right.ENTER, Pool.LOGINS),
    StudioRoute("GET", "/studio/oidc", account.begin_sign_in_there, Right.ENTER, Pool.PROVIDER),
    StudioRoute("GET", "/studio/oidc/callback", account.finish_sign_in_there, Right.ENTER, Pool.PROVIDER),
    StudioRoute("GET", "/studio/oidc/end", account.sign_out_there, Right.ENTER, Pool.PROVIDER),
    StudioRoute("POST", "/studio/sign-out", account.sign_out, Right.LEAVE),
    StudioRoute("GET", "/studio/overview", overview.show_overview, Right.READ_NUMBERS),
    StudioRoute("GET", "/studio/explore", explore.show_explore, Right.READ_NUMBERS),
    StudioRoute("GET", "/studio/explore/export", explore.export_part, Right.DOWNLOAD),
    *(
        StudioRoute("GET", f"/studio/{each.path}/{{value}}", explore.make_subject_endpoint(each), Right.READ_NUMBERS)
        for each in SUBJECTS
    ),
    StudioRoute("GET", "/studio/reports", reports.show_reports, Right.READ_NUMBERS),
    StudioRoute("POST", "/studio/reports", report_form.ask, Right.ASK_FOR_REPORTS),
    StudioRoute("GET", "/studio/reports/new", report_form.show_form, Right.ASK_FOR_REPORTS),
    StudioRoute("GET", "/studio/reports/{report_id}", reports.show_report, Right.READ_NUMBERS),
    StudioRoute("GET", "/studio/reports/{report_id}/chart.{kind}", reports.download_chart, Right.DOWNLOAD),
    StudioRoute("POST", "/studio/reports/{report_id}/cancel", reports.cancel_report, Right.ASK_FOR_REPORTS),
    StudioRoute("POST", "/studio/reports/{report_id}/delete", reports.delete_report, Right.ASK_FOR_REPORTS),
    StudioRoute("POST", "/studio/reports/{report_id}/download", reports.download_report, Right.DOWNLOAD),
    StudioRoute("GET", "/studio/saved", saved_and_shared.show_saved, Right.READ_NUMBERS, Pool.PAGES),
    StudioRoute("POST", "/studio/saved", saved_and_shared.save, Right.ASK_FOR_REPORTS),
    StudioRoute("GET", "/studio/shared", saved_and_shared.show_links, Right.SHARE_VIEWS, Pool.PAGES),
    StudioRoute("POST", "/studio/shared", saved_and_shared.share, Right.SHARE_VIEWS, Pool.PAGES),
    StudioRoute("POST", "/studio/shared/{view_id}/revoke", saved_and_shared.revoke_link, Right.SHARE_VIEWS),
    StudioRoute("GET", "/studio/shared/{token}", saved_and_shared.open_link, Right.ENTER),
    StudioRoute("GET", "/studio/shared/{token}/export", saved_and_shared.export_part, Right.ENTER),
    StudioRoute("GET", "/studio/embed/{token}", saved_and_shared.show_embed, Right.ENTER, is_embedded=True),
    StudioRoute("POST", "/studio/saved/{view_id}/place", saved_and_shared.place_view, Right.ASK_FOR_REPORTS),
    StudioRoute("POST", "/studio/saved/{view_id}/delete", saved_and_shared.delete_view, Right.ASK_FOR_REPORTS),
    StudioRoute("GET", "/studio/keys", keys.show_keys, Right.MANAGE_KEYS, Pool.PAGES),
    StudioRoute("POST", "/studio/keys", keys.create_key, Right.MANAGE_KEYS, Pool.PAGES),
    StudioRoute("POST", "/studio/keys/max-age", keys.limit_key_life, Right.MANAGE_KEYS),
    StudioRoute("GET", "/studio/keys/{key_id}", keys.show_key, Right.MANAGE_KEYS),
    StudioRoute("POST", "/studio/keys/{key_id}/rename", keys.rename_key, Right.MANAGE_KEYS),
    StudioRoute("POST", "/studio/keys/{key_id}/rotate", keys.rotate_key, Right.MANAGE_KEYS),
    StudioRoute("POST", "/studio/keys/{key_id}/cancel", keys.cancel_rotation, Right.MANAGE_KEYS),
    StudioRoute("POST", "/studio/keys/{key_id}/env", keys.download_secret, Right.MANAGE_KEYS),
    StudioRoute("POST", "/studio/keys/{key_id}/revoke", keys.revoke_key, Right.MANAGE_KEYS),
    StudioRoute("GET", "/studio/account", account.show_account, Right.STAY),
    StudioRoute("POST", "/studio/account/language", account.choose_language, Right.STAY),
    StudioRoute("POST", "/studio/account/password", account.change_password, Right.STAY, Pool.LOGINS),
    StudioRoute("GET", "/studio/account/authenticator", account.show_authenticator, Right.GUARD_ACCOUNT),
    StudioRoute("POST", "/studio/account/authenticator", account.add_authenticator, Right.GUARD_ACCOUNT, Pool.LOGINS),
    StudioRoute("POST", "/studio/account/authenticator/remove", account.remove_authenticator, Right.STAY, Pool.LOGINS),
    StudioRoute("POST", "/studio/account/passkeys", account.add_passkey, Right.GUARD_ACCOUNT, Pool.LOGINS),
    StudioRoute("POST", "/studio/account/passkeys/remove", account.remove_passkey, Right.STAY, Pool.LOGINS),
    StudioRoute("POST", "/studio/account/passkeys/{passkey}/rename", account.rename_passkey, Right.STAY),
    StudioRoute("POST", "/studio/account/recovery-codes", account.make_recovery_codes, Right.STAY, Pool.LOGINS),
    StudioRoute("POST", "/studio/account/sessions/{session}/end", account.end_session, Right.STAY),
    StudioRoute("POST", "/studio/account/sign-out-everywhere", account.sign_out_everywhere, Right.STAY),
    StudioRoute("GET", "/studio/password/{token}", account.show_password_form, Right.ENTER),
    StudioRoute("POST", "/studio/password/{token}", account.set_password, Right.ENTER, Pool.LOGINS),
    StudioRoute("GET", "/studio/people", people.show_people, Right.MANAGE_PEOPLE, Pool.PAGES),
    StudioRoute("POST", "/studio/people", people.add_person, Right.MANAGE_PEOPLE, Pool.PAGES),
    StudioRoute("POST", "/studio/people/{user}/password", people.make_password_link, Right.MANAGE_PEOPLE, Pool.PAGES),
    StudioRoute("POST", "/studio/people/{user}/role", people.change_role, Right.MANAGE_PEOPLE),
    StudioRoute("GET", "/studio/people/{user}/channels", people.show_channels, Right.MANAGE_PEOPLE),
    StudioRoute("POST", "/studio/people/{user}/channels", people.limit_channels, Right.MANAGE_PEOPLE),
    StudioRoute("POST", "/studio/people/{user}/factors", people.reset_factors, Right.MANAGE_PEOPLE),
    StudioRoute("POST", "/studio/people/{user}/remove", people.remove_person, Right.MANAGE_PEOPLE),
    StudioRoute("GET", "/studio/audit", audit.show_audit_log, Right.READ_AUDIT_LOG),
    StudioRoute("GET", "/studio/operator", operator.show_platform, Right.OPERATE),
    StudioRoute("GET", "/studio/operator/numbers", operator_numbers.show_numbers, Right.READ_PLATFORM),
    StudioRoute("GET", "/studio/operator/days", operator.show_days, Right.OPERATE),
    StudioRoute("GET", "/studio/operator/loads", operator.show_loads, Right.OPERATE),
    StudioRoute("GET", "/studio/operator/reports", operator.show_reports, Right.OPERATE),
    StudioRoute("GET", "/studio/operator/organizations", operator.show_organizations, Right.OPERATE),
    StudioRoute("GET", "/studio/operator/organizations/{organization}", operator.show_organization, Right.OPERATE),
    StudioRoute("POST", "/studio/operator/organizations/{organization}/look", operator.begin_look, Right.LOOK),
    StudioRoute("POST", "/studio/operator/end-look", operator.end_look, Right.LEAVE),
)


def make_routes() -> list[ExactRoute]:
    """Make the routes for the app, each behind its guard."""
    return [
        ExactRoute(
            each.path,
            guard(each.endpoint, each.right, each.pool, is_embedded=each.is_embedded),
            methods=[each.method],
        )
        for each in ROUTES
    ]
