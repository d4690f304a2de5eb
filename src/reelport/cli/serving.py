"""`serve` and `worker`: the service at work."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from reelport.server.settings import Settings, read

AllSettings = Annotated[Settings | None, Parameter(name="*")]


def serve(*, settings: AllSettings = None) -> None:
    """Run the Reporting API and its workers, until SIGTERM or Ctrl-C.

    Example: reelport serve --data reelport-data --port 8642
    """
    from reelport.server.serve import serve as run

    run(settings or read())


def worker(
    *,
    attached: Annotated[bool, Parameter(negative="", help="End when standard input ends.")] = False,
    settings: AllSettings = None,
) -> None:
    """Run workers for a service that runs elsewhere, until SIGTERM or Ctrl-C.

    Example: reelport worker --data reelport-data
    """
    from reelport.server import logs
    from reelport.server.worker import work

    used = settings or read()
    logs.configure(used)
    work(used, attached=attached)
