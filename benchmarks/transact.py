"""The same three steps as a workflow of DBOS Transact: two transactions of its data source round a step."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy
from dbos import DBOS, DBOSConfig, SetWorkflowID, SQLAlchemyDatasource
from django.db import connection

from benchmarks.durable import INSERT, UPDATE
from benchmarks.statements import SAVEPOINTS, Sent

AMOUNT = 500


@contextmanager
def workflows() -> Iterator[Any]:
    """A function that runs the workflow once, under a fresh id. Its tables are made beside the payments."""
    url = _url()
    config: DBOSConfig = {
        "name": "benchmarks",
        "system_database_url": url,
        "run_admin_server": False,
        "log_level": "ERROR",
    }
    DBOS(config=config)
    workflow = _defined(SQLAlchemyDatasource.create(url))
    DBOS.launch()
    try:
        yield lambda: _started(workflow)
    finally:
        DBOS.destroy()


@contextmanager
def counting() -> Iterator[Sent]:
    """Statements through any engine of SQLAlchemy's. BEGIN and COMMIT do not pass through its cursors."""
    sent = Sent()

    def count(_: Any, __: Any, statement: str, *___: Any) -> None:
        if statement.startswith(SAVEPOINTS):
            sent.savepoints += statement.startswith("SAVEPOINT")
        else:
            sent.statements += 1

    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", count)
    try:
        yield sent
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", count)


def _started(workflow: Any) -> None:
    with SetWorkflowID(str(uuid.uuid4())):
        workflow(AMOUNT)


def _defined(source: Any) -> Any:
    # As Django's connections have it.
    transaction = source.transaction(isolation_level="READ COMMITTED")

    @transaction
    def reserve(amount: int) -> int:
        inserted = source.sql_session().execute(sqlalchemy.text(INSERT.format(":amount")), {"amount": amount})
        return int(inserted.scalar_one())

    @DBOS.step()
    def charge(amount: int) -> dict[str, Any]:
        return {"status": "approved", "reference": f"ch-{DBOS.workflow_id}", "amount": amount}

    @transaction
    def record(payment: int, reference: str) -> dict[str, int]:
        update = sqlalchemy.text(UPDATE.format(":reference", ":payment"))
        source.sql_session().execute(update, {"reference": reference, "payment": payment})
        return {"id": payment}

    @DBOS.workflow()
    def pay(amount: int) -> dict[str, int]:
        payment = reserve(amount)
        charged = charge(amount)
        answer: dict[str, int] = record(payment, charged["reference"])
        return answer

    return pay


def _url() -> str:
    place = connection.settings_dict
    url = sqlalchemy.URL.create(
        "postgresql+psycopg",
        username=place["USER"],
        password=place["PASSWORD"] or None,
        host=place["HOST"],
        port=int(place["PORT"]),
        database=place["NAME"],
    )
    return url.render_as_string(hide_password=False)
