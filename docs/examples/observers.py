import logging

from django.dispatch import receiver

from django_idempotency import signals

logger = logging.getLogger("shop.payments")


@receiver(signals.replayed)
def log_replay(sender, request, operation, **kwargs):
    logger.info("A retry of %s %s got its first answer.", operation.method, operation.path)


@receiver(signals.rejected)
def log_rejection(sender, request, error, **kwargs):
    logger.warning("%s was refused: %s", request.path, error.code)
