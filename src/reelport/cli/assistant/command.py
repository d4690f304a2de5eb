"""`reelport mcp`: tools for assistants, over stdin and stdout."""

from __future__ import annotations

from reelport.cli.arguments.options import IN_FORCE, ServiceOptions
from reelport.errors import UsageError
from reelport.wording import advise_extra


def mcp(*, service: ServiceOptions = IN_FORCE) -> None:
    """Serve assistants over stdin and stdout, by the Model Context Protocol, until stdin ends.

    Example: reelport mcp

    An assistant can look up names, check a query, ask for a report, wait for it and sum it up. It changes nothing else.
    """
    import asyncio

    from reelport.cli.arguments.options import read_settings

    settings = read_settings(service)
    try:
        from reelport.cli.assistant.server import serve
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("reelport"):
            raise
        raise UsageError(f"This needs {error.name}, which is not installed: {advise_extra('mcp')}") from error
    asyncio.run(serve(settings))
