from django_idempotency.tasks import beat_schedule

CELERY_BROKER_URL = "amqp://guest:guest@127.0.0.1:5672//"
CELERY_BEAT_SCHEDULE = {
    **beat_schedule(),
    # The records of a profile with a DATABASE of its own.
    "purge the ledger": {
        "task": "django_idempotency.tasks.purge_expired",
        "schedule": 600,
        "kwargs": {"database": "ledger"},
        "options": {"expires": 600},
    },
}
