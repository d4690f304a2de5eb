"""Drivers: run the steps of a flow, by threads or on an event loop, over HTTP."""
