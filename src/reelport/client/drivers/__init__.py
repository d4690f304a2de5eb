"""Drivers: run the steps of a flow over HTTP, blocking or on asyncio."""
