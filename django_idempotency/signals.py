"""
What an application may observe. Sent robustly: a receiver that raises is logged by Django and breaks no payment.

`sender` is the protected view; `recovered`, `resolved` and `audited` have the model as theirs.
"""

from __future__ import annotations

from django.dispatch import Signal

claimed = Signal()
"""A request has the right to run and its view starts. Arguments: request, operation, attempt."""
completed = Signal()
"""Effects and answer are committed. Arguments: request, operation, response."""
released = Signal()
"""Nothing was kept and the key is free. Arguments: request, operation, response or None, error or None."""
replayed = Signal()
"""A retry got the first answer. Arguments: request, operation, response."""
rejected = Signal()
"""A request was refused. Arguments: request, operation or None, error."""
missing = Signal()
"""A request without a key ran unprotected, because its view does not require one. Arguments: request."""
recovered = Signal()
"""Upkeep freed the key of a claim whose owner died. Arguments: record (its columns before, as a dict)."""
resolved = Signal()
"""
A person has settled a record or an incident. Arguments: record and incident (each its columns before, as a dict, or None),
how (a value of core.acts.Act), actor, reason, evidence.
"""
audited = Signal()
"""An event of the audit is committed. Arguments: event, and of the new head database, sequence, digest, at."""
