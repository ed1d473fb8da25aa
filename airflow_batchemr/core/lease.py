"""How long a claim gives its owner the right to make the call."""

from __future__ import annotations

CLAIM_LEASE = 60.0
"""Seconds, by S3's clock, in which whoever claimed a submission may make the call; after them, nobody may."""
