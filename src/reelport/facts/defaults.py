"""What commands over tables do unless they are told otherwise: known without the libraries that do it."""

from __future__ import annotations

MEMORY = "1GB"
"""Memory that a load or a merge sorts in."""
SETTLED_AFTER = 3
"""Days after which a day is taken as settled: restatements are rare from then on."""
KEPT_HOURS = 72
"""Hours that a replaced file stays: a report may run for 48 hours from its ask."""
REJECT_ROWS = 100_000
"""Rows that a reject file keeps."""
REJECT_BYTES = 100_000_000
"""Bytes that a reject file may have."""
