"""Migrations add and never take away: the previous release runs on the new schema, and nobody waits for a long lock."""

import pytest
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.models import NOT_PROVIDED

APP = "django_idempotency"

LOADER = MigrationLoader(None)
LATER = {name: found for (app, name), found in LOADER.disk_migrations.items() if app == APP and not found.initial}


def faults(migration, existing):
    """What the previous release, or a table in use, cannot bear. `existing`: the models of earlier migrations."""
    created = {part.name.lower() for part in migration.operations if isinstance(part, migrations.CreateModel)}
    for part in migration.operations:
        if isinstance(part, migrations.CreateModel):
            continue
        on_new_table = getattr(part, "model_name", "").lower() in created - existing
        if isinstance(part, migrations.AddField):
            yield from [] if on_new_table else field_faults(part.field)
        elif isinstance(part, AddIndexConcurrently):
            yield from ["CONCURRENTLY needs atomic = False"] if migration.atomic else []
        elif isinstance(part, migrations.AddIndex):
            yield from [] if on_new_table else [f"{part.index.name}: built under a lock that stops every request"]
        elif isinstance(part, migrations.AlterModelOptions):
            continue
        elif not (on_new_table and isinstance(part, migrations.AddConstraint)):
            yield f"{part.describe()}: not additive"


def field_faults(field):
    if isinstance(field, models.GeneratedField):
        yield f"{field.name}: the whole table would be written anew under a lock"
    elif not field.null and field.db_default is NOT_PROVIDED:
        yield "the previous release inserts without it: give it null=True or db_default"
    if field.unique or field.db_index:
        yield "its index would be built under a lock that stops every request"
    if field.is_relation:
        yield "inserting a reference would wait for the lock of a running view"


class TestOurs:
    @pytest.mark.parametrize("name", sorted(LATER))
    def test_it_is_additive(self, name):
        earlier = [found for (app, other), found in LOADER.disk_migrations.items() if app == APP and other < name]
        existing = {
            part.name.lower()
            for migration in earlier
            for part in migration.operations
            if isinstance(part, migrations.CreateModel)
        }
        assert list(faults(LATER[name], existing)) == []

    def test_there_are_some(self):
        assert "0002_stored_requests_and_leases" in LATER

    def test_they_follow_one_another(self):
        assert len(LOADER.graph.leaf_nodes(APP)) == 1


def migration(*operations, atomic=True):
    made = migrations.Migration("0009_made_up", APP)
    made.operations, made.atomic = list(operations), atomic
    return made


def add(field):
    return migrations.AddField("IdempotencyRecord", "added", field)


INDEX = models.Index(fields=["state"], name="made_up")
ON_RECORD = {"model_name": "IdempotencyRecord"}
NEW_TABLE = migrations.CreateModel("Note", [("id", models.BigAutoField(primary_key=True))])


class TestTheRule:
    """It refuses what it is there to refuse."""

    @pytest.mark.parametrize(
        "operation",
        [
            add(models.IntegerField()),
            add(models.IntegerField(default=0)),
            add(models.IntegerField(null=True, db_index=True)),
            add(models.IntegerField(null=True, unique=True)),
            add(
                models.GeneratedField(expression=models.F("token"), output_field=models.IntegerField(), db_persist=True)
            ),
            add(models.ForeignKey("auth.User", models.CASCADE, null=True)),
            migrations.AddIndex(index=INDEX, **ON_RECORD),
            AddIndexConcurrently(index=INDEX, **ON_RECORD),
            migrations.AddConstraint(constraint=models.UniqueConstraint(fields=["key"], name="once"), **ON_RECORD),
            migrations.RemoveField("IdempotencyRecord", "path"),
            migrations.RenameField("IdempotencyRecord", "path", "url"),
            migrations.AlterField("IdempotencyRecord", "path", models.CharField(max_length=10)),
            migrations.RemoveIndex("IdempotencyRecord", "djidempotency_record_due"),
            migrations.DeleteModel("IdempotencyRecord"),
            migrations.RunSQL("UPDATE everything"),
            migrations.RunPython(migrations.RunPython.noop),
        ],
        ids=lambda operation: (
            f"{type(operation).__name__} {getattr(getattr(operation, 'field', None), 'description', '')}"
        ),
    )
    def test_what_is_not_additive_is_refused(self, operation):
        assert list(faults(migration(operation), {"idempotencyrecord"}))

    @pytest.mark.parametrize(
        "operations",
        [
            [add(models.IntegerField(null=True))],
            [add(models.CharField(max_length=9, default="", db_default=""))],
            [NEW_TABLE],
            [NEW_TABLE, migrations.AddIndex("Note", INDEX)],
            [NEW_TABLE, migrations.AddField("Note", "text", models.TextField())],
        ],
    )
    def test_what_is_additive_is_not(self, operations):
        assert list(faults(migration(*operations), {"idempotencyrecord"})) == []

    def test_an_index_that_is_built_beside_the_traffic_is_not(self):
        beside = migration(AddIndexConcurrently(index=INDEX, **ON_RECORD), atomic=False)
        assert list(faults(beside, {"idempotencyrecord"})) == []
