"""Settled months: aggregated months that later reports of the same question reuse."""
