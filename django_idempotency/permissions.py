"""Groups of users, by what their work is. The permissions themselves are declared by the models."""

from __future__ import annotations

from django.db import transaction

LOOK = ("view_idempotencyrollup", "view_idempotencyrecord", "view_idempotencyincident", "view_idempotencyapproval")

GROUPS = {
    "Idempotency support": (*LOOK,),
    "Idempotency on-call": (*LOOK, "release", "replay"),
    "Idempotency finance": (*LOOK, "view_payload", "resolve", "export"),
    "Idempotency approvers": (*LOOK, "approve"),
    "Idempotency auditors": (*LOOK, "view_idempotencyevent", "export"),
}


class MissingPermissions(Exception):
    """Permissions are made by `migrate`, which has not run."""


def make_groups(*, using: str) -> dict[str, tuple[str, ...]]:
    """
    Make the groups, and give those that are there already what they lack; nothing is taken from anybody.

    Raises MissingPermissions.
    """
    from django.contrib.auth.models import Group, Permission

    known = Permission.objects.using(using).filter(content_type__app_label="django_idempotency")
    by_name = {permission.codename: permission for permission in known}
    missing = sorted({name for names in GROUPS.values() for name in names} - by_name.keys())
    if missing:
        raise MissingPermissions(f"There is no permission {', '.join(missing)}. Run migrate first.")
    with transaction.atomic(using=using):
        for group, names in GROUPS.items():
            found, _ = Group.objects.using(using).get_or_create(name=group)
            found.permissions.add(*(by_name[name] for name in names))
    return GROUPS
