from django.tasks import task
from shop.models import Payment


@task
def book_fee(payment, *, message_id):
    # Where `key` is unique, a second one of the same message is refused.
    Payment.objects.get_or_create(key=message_id, defaults={"amount": 1})
