from shop.models import Payment

from django_idempotency.tasks import idempotent_task, message_id


@idempotent_task(key=message_id, name="shop.book_fee")
def book_fee(payment, amount):
    Payment.objects.create(key=f"fee of {payment}", amount=amount)
