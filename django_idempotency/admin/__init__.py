"""The operators' desk: one module per page. What staff may do is in resolution; nothing here changes a record."""

from . import approvals, bulk, dashboard, incidents, requests

__all__ = ["approvals", "bulk", "dashboard", "incidents", "requests"]
