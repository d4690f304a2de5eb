"""Which setting is in force, from where, and what may stand in a file of profiles."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests import forked
from tests.client.desk import HIDDEN, Desk

from reelport.client.settings import profile_file, secrets
from reelport.client.settings.config import resolve_home
from reelport.client.settings.profiles import find_in_force, list_secret_names, resolve
from reelport.errors import AccessError, ReelportError, StorageError, UsageError

USER = """
[profiles.default]
url = "https://user.example"
key = "user-key"
slots = 3
"""
PROJECT = """
profile = "team"

[profiles.team]
url = "https://project.example"

[sync.views]
metrics = ["VIEWS"]
"""


def test_a_flag_goes_before_the_environment_a_project_and_the_user(desk: Desk) -> None:
    """Each place beats those after it, setting by setting, and the default comes last."""
    desk.user(USER + '[profiles.team]\nurl = "https://other.example"\nkey = "team-key"\n')
    assert desk.source("url") == ("https://user.example", f"{desk.home}/config.toml [profiles.default]")
    desk.project(PROJECT)
    assert desk.source("url") == ("https://project.example", f"{desk.folder}/reelport.toml [profiles.team]")
    assert desk.source("key") == ("team-key", f"{desk.home}/config.toml [profiles.team]")
    assert desk.source("slots") == ("2", "default")
    assert desk.source("url", REELPORT_URL="https://env.example") == ("https://env.example", "REELPORT_URL")
    found = find_in_force({**desk.environment, "REELPORT_URL": "https://env.example"}, url="https://flag.example")
    assert found["url"] == "https://flag.example"


def test_a_profile_that_is_named_outright_goes_before_the_environment(desk: Desk) -> None:
    """`--profile` means that profile; a profile that a variable names is the environment's."""
    desk.user(USER)
    assert desk.source("url", "default", REELPORT_URL="https://env.example")[0] == "https://user.example"
    named = {"REELPORT_PROFILE": "default", "REELPORT_URL": "https://env.example"}
    assert desk.source("url", **named)[0] == "https://env.example"
    assert desk.source("profile", **named) == ("default", "REELPORT_PROFILE")


def test_without_files_there_is_the_environment_and_dailymotion(desk: Desk) -> None:
    """Nobody needs a profile."""
    found = find_in_force({**desk.environment, "REELPORT_API_KEY": "k", "REELPORT_API_SECRET": HIDDEN})
    assert found["url"] == "https://partner.api.dailymotion.com"
    assert not found.missing
    assert found.settings["profile"].source == "not set"
    assert resolve_home({}) == Path.home() / ".reelport"


@pytest.mark.parametrize(
    ("given", "kind", "url"),
    [
        ({"REELPORT_API_KEY": "k"}, "private", "https://partner.api.dailymotion.com"),
        ({"REELPORT_API_KEY": "k", "REELPORT_USERNAME": "u"}, "public", "https://graphql.api.dailymotion.com"),
        ({"REELPORT_BEARER": "b", "REELPORT_API_KEY": "k"}, "bearer", "https://partner.api.dailymotion.com"),
        ({}, "private", "https://partner.api.dailymotion.com"),
    ],
)
def test_the_kind_of_key_shows_in_its_parts(desk: Desk, given: dict[str, str], kind: str, url: str) -> None:
    """A user's name makes a public key, a bearer token needs no key; the default host follows."""
    found = find_in_force(desk.environment | given)
    assert (found["kind"], found["url"]) == (kind, url)


def test_a_variable_with_a_profiles_key_leaves_its_kind(desk: Desk) -> None:
    """The key's id in the environment doesn't make a private key of a profile's public one."""
    desk.user('[profiles.default]\nkind = "public"\nkey = "k"\nusername = "u"\n')
    assert desk.source("kind", REELPORT_API_KEY="k")[0] == "public"
    assert desk.source("kind", REELPORT_API_KEY="another")[0] == "private"
    desk.user('[profiles.default]\nkind = "public"\nusername = "u"\n')
    assert desk.source("kind", REELPORT_API_KEY="k")[0] == "public"


def test_the_file_of_secrets_comes_after_the_environment(desk: Desk) -> None:
    """A secret is kept for one key at one service."""
    desk.user('[profiles.default]\nurl = "https://u.example"\nkey = "k"\n')
    desk.holds({"secret of private key k": HIDDEN})
    assert desk.source("secret") == (HIDDEN, f"file ({desk.home}/secrets.json)")
    outside = {"REELPORT_API_SECRET": "from outside", "REELPORT_URL": "https://u.example"}
    assert desk.source("secret", **outside) == ("from outside", "REELPORT_API_SECRET")
    assert desk.source("secret", REELPORT_API_KEY="another")[0] is None
    settings = resolve(desk.environment, folder=desk.folder)
    assert settings.url == "https://u.example"
    assert HIDDEN not in repr(settings)
    assert HIDDEN not in repr(find_in_force(desk.environment, folder=desk.folder))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666])
def test_a_file_of_secrets_that_others_may_read_is_not_used(desk: Desk, mode: int) -> None:
    """It is refused with the command that puts it right, and the secret stays out of the sentence."""
    desk.user('[profiles.default]\nurl = "https://u.example"\nkey = "k"\n')
    desk.holds({"secret of private key k": HIDDEN}, mode)
    with pytest.raises(AccessError, match="chmod 600") as caught:
        resolve(desk.environment, folder=desk.folder)
    assert HIDDEN not in str(caught.value)
    outside = {"REELPORT_API_SECRET": "s", "REELPORT_URL": "https://u.example"}
    assert resolve(desk.environment | outside, folder=desk.folder).url == "https://u.example"


def test_a_secret_is_kept_in_a_file_for_its_owner_alone(desk: Desk) -> None:
    """Whatever the umask is; it can be taken out again, and others stay."""
    names = list_secret_names(find_in_force(desk.environment, url="https://u.example", key="k", username="ü").settings)
    before = os.umask(0)
    try:
        for part, name in names.items():
            secrets.store_in_file(desk.home, name, f"{part} {HIDDEN}")
    finally:
        os.umask(before)
    path = desk.home / "secrets.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert desk.home.stat().st_mode & 0o777 == 0o700
    assert sorted(each.name for each in desk.home.iterdir()) == ["config.lock", "secrets.json"]
    found = secrets.look_up(names["password"], desk.home)
    assert found is not None
    assert found.secret == f"password {HIDDEN}"
    assert secrets.delete_secret(names["password"], desk.home) == (f"file ({path})",)
    assert secrets.delete_secret(names["password"], desk.home) == ()
    assert secrets.look_up(names["secret"], desk.home) is not None


def test_a_broken_file_of_secrets_says_what_to_do(desk: Desk) -> None:
    """It is never taken for empty, and never overwritten."""
    desk.holds({})
    (desk.home / "secrets.json").write_text("[1, 2]")
    name = list_secret_names(find_in_force(desk.environment, url="https://u.example", key="k").settings)["secret"]
    with pytest.raises(StorageError, match="log in again"):
        secrets.look_up(name, desk.home)
    with pytest.raises(StorageError):
        secrets.store_in_file(desk.home, name, HIDDEN)
    assert (desk.home / "secrets.json").read_text() == "[1, 2]"


@pytest.mark.parametrize(
    "text",
    [
        f'[profiles.default]\nsecret = "{HIDDEN}"\n',
        f'[profiles.default]\nkey = "k"\nAPI-Secret = "{HIDDEN}"\n',
        f'password = "{HIDDEN}"\n',
        f'[sync.views]\ntoken = "{HIDDEN}"\n',
        f'[[sync.list]]\nnested.bearer = "{HIDDEN}"\n',
    ],
)
def test_a_secret_in_a_shared_file_is_refused_with_advice(desk: Desk, text: str) -> None:
    """Wherever it stands in a user's or a project's file; and it isn't repeated."""
    desk.project(text)
    with pytest.raises(UsageError, match="is a secret") as caught:
        find_in_force(desk.environment, folder=desk.folder)
    assert "auth login" in str(caught.value)
    assert HIDDEN not in str(caught.value)


def test_all_that_is_wrong_in_a_file_is_said_at_once(desk: Desk) -> None:
    """With the file's name and the nearest name that would work."""
    desk.user(
        'profil = "a"\nslots = 3\n[profiles.a]\nurls = "x"\nkind = "secret"\nslots = 0\nkey = 7\n[profiles."b c"]\n'
    )
    with pytest.raises(UsageError) as caught:
        find_in_force(desk.environment)
    said = str(caught.value).splitlines()
    assert all(line.startswith(str(desk.home / "config.toml")) for line in said)
    assert len(said) == 7
    assert "Did you mean url?" in str(caught.value)
    assert "Did you mean profile?" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('profil = "team"\n[profiles.team]\n', "there is no setting 'profil'. Did you mean profile?"),
        ("[profils.team]\n[profiles.team]\n", "there is no setting 'profils'. Did you mean profiles?"),
        ("colour = 1\n", "there is no setting 'colour'. There are defaults, reports, profile, profiles."),
    ],
)
def test_a_mistyped_name_in_a_projects_file_is_refused_with_the_nearest(desk: Desk, text: str, said: str) -> None:
    """It is not ignored, which would speak to Dailymotion; foreign tables and those of `sync` are left alone."""
    desk.project(text)
    with pytest.raises(UsageError) as caught:
        find_in_force(desk.environment, folder=desk.folder)
    assert str(caught.value) == f"{desk.folder / 'reelport.toml'}: {said}"
    desk.project('profile = "team"\n[defaults]\nstrat = 1\n[reports.x]\n[tool.other]\n[profiles.team]\n')
    assert find_in_force(desk.environment, folder=desk.folder)["profile"] == "team"


@pytest.mark.parametrize(
    "text", ["[profiles.a", "profiles = 3", "profile = 3", "[profiles]\na = 1", "\x00", "a = " + "[" * 5000]
)
def test_a_file_that_is_none_ends_in_a_sentence(desk: Desk, text: str) -> None:
    """No traceback for anything that a file can hold."""
    desk.user(text)
    with pytest.raises(UsageError):
        find_in_force(desk.environment)


def test_a_file_of_other_bytes_ends_in_a_sentence(desk: Desk) -> None:
    """Neither a folder nor bytes that are no text nor a huge file."""
    desk.user("")
    path = desk.home / "config.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="UTF-8"):
        find_in_force(desk.environment)
    path.write_bytes(b"#" * (1 << 21))
    with pytest.raises(UsageError, match="1 MiB"):
        find_in_force(desk.environment)
    path.unlink()
    path.mkdir()
    with pytest.raises(StorageError):
        find_in_force(desk.environment)


def test_a_profile_that_is_not_there_gets_the_nearest(desk: Desk) -> None:
    """However it was named."""
    desk.user(USER)
    with pytest.raises(UsageError, match="Did you mean default"):
        find_in_force(desk.environment, profile="defualt")
    with pytest.raises(UsageError, match="REELPORT_PROFILE"):
        find_in_force(desk.environment | {"REELPORT_PROFILE": "nowhere"})


def test_without_a_key_the_sentence_names_what_is_missing(desk: Desk) -> None:
    """The variables, and the command that keeps a key."""
    with pytest.raises(AccessError, match=r"REELPORT_API_KEY and REELPORT_API_SECRET.*auth login"):
        resolve(desk.environment)
    with pytest.raises(AccessError, match=r"set REELPORT_PASSWORD,"):
        resolve(desk.environment, key="k", secret="s", username="u")  # noqa: S106 - a test's


KEPT = """# mine
profile = "a"  # the usual

[profiles.a] # first
url = "https://a.example"
key = "k"

# of b
[profiles.b]
url = "https://b.example"
"""


def test_one_profile_is_changed_and_all_else_stays(tmp_path: Path) -> None:
    """Comments, order and other profiles are as they were; a value of any text comes back as it went in."""
    path = tmp_path / "config.toml"
    path.write_text(KEPT)
    odd = {"url": "https://new.example", "key": 'a"b\\c\té\U0001f600\x7f', "slots": "4"}
    profile_file.write_profile(path, "a", odd)
    found = profile_file.read_profiles(path, alone=True)
    assert found.profiles == {"a": odd, "b": {"url": "https://b.example"}}
    text = path.read_text("utf-8")
    assert text.startswith('# mine\nprofile = "a"  # the usual\n')
    assert "# of b\n[profiles.b]" in text
    profile_file.write_profile(path, "a", odd)
    assert path.read_text("utf-8") == text
    profile_file.write_profile(tmp_path / "new" / "config.toml", "x", {"key": "k"})
    assert (tmp_path / "new" / "config.toml").read_text() == '[profiles.x]\nkey = "k"\n'


@pytest.mark.parametrize(
    "text", ["profiles.a.url = 'https://a.example'\n", "[profiles]\na = {url = 'https://a.example'}\n"]
)
def test_a_file_in_another_hand_is_not_damaged(tmp_path: Path, text: str) -> None:
    """Where a profile can't be replaced for sure nothing is written, and the lines to add are said."""
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(ReelportError, match=r"\[profiles.a\]"):
        profile_file.write_profile(path, "a", {"url": "https://b.example"})
    assert path.read_text() == text


def test_many_processes_keep_profiles_and_secrets_at_once(tmp_path: Path) -> None:
    """None of them takes another's away."""
    code = (
        "import sys; from pathlib import Path; from reelport.client.settings import profile_file, secrets\n"
        "home, who = Path(sys.argv[1]), sys.argv[2]\n"
        "for number in range(5):\n"
        "    profile_file.write_profile(home / 'config.toml', f'{who}-{number}', {'key': who})\n"
        "    secrets.store_in_file(home, secrets.Name('https://u.example', f'{who}-{number}', 'secret'), who)\n"
    )
    running = [forked.Popen(["-c", code, str(tmp_path), who]) for who in "abcd"]
    assert [process.wait(300) for process in running] == [0] * 4
    assert len(profile_file.read_profiles(tmp_path / "config.toml", alone=True).profiles) == 20
    assert len(json.loads((tmp_path / "secrets.json").read_text())["https://u.example"]) == 20
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.lock", "config.toml", "secrets.json"]
