from django.http import JsonResponse
from shop.models import Payment
from shop.outbox_tasks import book_fee

from django_idempotency import enqueue_on_commit, idempotent


@idempotent
def pay(request):
    payment = Payment.objects.create(amount=int(request.POST["amount"]))
    enqueue_on_commit(book_fee, payment.pk, amount=1)
    return JsonResponse({"payment": payment.pk}, status=201)
