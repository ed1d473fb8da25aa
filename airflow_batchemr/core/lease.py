"""Duration of the lease that a claim gives its owner."""

from __future__ import annotations

CLAIM_LEASE = 60.0
"""Seconds, on S3's clock, during which the owner of a claim may make the call. Afterwards, no process may."""
