"""
The cache in front of the database: answers that were given before, without asking the database again.

The database stays the truth. What is here can be lost at any time, and then costs time, nothing else. How it is kept from
giving an answer that the database has no more: docs/explanation/replay-cache.md.
"""

from __future__ import annotations
