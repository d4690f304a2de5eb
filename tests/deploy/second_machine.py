"""Another machine for a booted one to reach: a root of its own, with a server for SSH and one user, who is root.

The booted machine's systemd runs it, so it ends with that; they share a loopback.
"""

from __future__ import annotations

from pathlib import Path

from tests.deploy.booted_root import Machine
from tests.deploy.empty_root import LINKED
from tests.deploy.programs import find_tool

_PLACE = "/second"
_CONFIGURATION = """
ListenAddress 127.0.0.1
HostKey /etc/ssh/key
PasswordAuthentication no
UsePAM no
StrictModes no
Subsystem sftp internal-sftp
"""
_SERVE = f"""
for key in $HOME/.ssh/id_ed25519 {_PLACE}/etc/ssh/key; do ssh-keygen -q -t ed25519 -N '' -f $key; done
cp $HOME/.ssh/id_ed25519.pub {_PLACE}$HOME/.ssh/authorized_keys
echo "$(echo {{names}} | tr ' ' ,) $(cat {_PLACE}/etc/ssh/key.pub)" > $HOME/.ssh/known_hosts
echo "127.0.0.1 localhost {{names}}" >> /etc/hosts
set -- --property=RootDirectory={_PLACE} --property=BindReadOnlyPaths=/usr --property=MountAPIVFS=yes
systemd-run --quiet --unit=second --property=RuntimeDirectory=sshd "$@" {{server}} -D -e
until ssh -o ConnectionAttempts=100 {{first}} true; do systemctl is-active second; done
"""


def start_second(machine: Machine, *names: str) -> Path:
    """Start another machine that answers to these names; its root's folder. Root's own keys open it to root."""
    server = find_tool("sshd", "openssh-server")
    folder = machine.folder / _PLACE[1:]
    for name in ("usr", "etc/ssh", "root/.ssh", "run", "tmp", "dev", "proc", "sys"):
        (folder / name).mkdir(parents=True)
    for name in LINKED:
        if (link := Path("/") / name).is_symlink():
            (folder / name).symlink_to(link.readlink())
    (machine.folder / "root" / ".ssh").mkdir(mode=0o700, exist_ok=True)
    users = "root:x:0:0:root:/root:/bin/sh\nsshd:x:102:65534::/run/sshd:/usr/sbin/nologin\n"
    (folder / "etc" / "passwd").write_text(users)
    (folder / "etc" / "ssh" / "sshd_config").write_text(_CONFIGURATION)
    script = _SERVE.format(names=" ".join(names), first=names[0], server=server)
    done = machine.run(script)
    assert done.returncode == 0, done.stdout + done.stderr + machine.run("journalctl --unit second").stdout
    return folder
