"""The address of a Spark Connect server: `sc://host:port`, then parameters for Spark."""

from __future__ import annotations

PATTERN = r"sc://[^/;:@?#\s]+(:\d{1,5})?(/(;[^;=\s]+=[^;=\s]*)*)?"
"""What an address looks like, such as sc://spark.example:15002/;use_ssl=true;token=….

Spark takes parameters after a slash alone, and a = in a value as %3D; else its error quotes the value.
"""


def describe_address(address: str) -> str:
    """The address for people: without its parameters, of which one may be a token."""
    return address.partition("/;")[0].partition(";")[0]
