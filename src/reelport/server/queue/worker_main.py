"""Entry point of a worker: `python -m …queue.worker_main SUPERVISOR [OPTION]`.

The option is `--isolated`: such a worker makes suspects, one at a time. With `--forms OWNER` the process is no worker,
but makes the forms of finished reports under that name.

This is no command of `reelport`: the command line's library would only take memory here.
"""

from __future__ import annotations

import gc
import signal
import sys


def main() -> None:
    """Make reports until SIGTERM, or until the supervisor that started this process ends."""
    # A Ctrl-C in the terminal is for the service: ignore it before the slow imports begin.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What is imported stays: Python would look for garbage in it again and again. `run_worker` lets it look.
    gc.disable()
    from reelport.server.log_library import import_structlog  # noqa: PLC0415 - see above

    import_structlog()
    import structlog  # noqa: PLC0415 - see above

    from reelport.errors import ReelportError  # noqa: PLC0415 - see above
    from reelport.server import logs  # noqa: PLC0415 - see above
    from reelport.server.queue.worker import run_worker  # noqa: PLC0415 - see above
    from reelport.server.settings import read_settings  # noqa: PLC0415 - see above
    from reelport.storage.durable import set_readers  # noqa: PLC0415 - see above

    settings = read_settings()
    set_readers(settings.readers)
    logs.configure(settings)
    try:
        match sys.argv[1:]:
            case [supervisor, "--isolated"]:
                run_worker(settings, supervisor, isolated=True)
            case [supervisor, "--forms", owner]:
                from reelport.server.queue.form_maker import run_form_maker  # noqa: PLC0415 - no worker needs it

                run_form_maker(settings, supervisor, owner)
            case [supervisor]:
                run_worker(settings, supervisor)
    except ReelportError as error:
        structlog.get_logger(__name__).error("the worker can't start", reason=str(error))
        raise SystemExit(error.exit_status) from None


if __name__ == "__main__":
    main()
