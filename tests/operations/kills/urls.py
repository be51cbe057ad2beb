from django.urls import path

from tests.bank import plain
from tests.operations.kills import payments
from tests.settings import HAVE_DRF

urlpatterns = [
    path("plain/ready", plain.ready),
    path("plain/<str:name>", payments.plain),
    path("upkeep", payments.upkeep),
]

if HAVE_DRF:
    from tests.operations.kills.payments_drf import Payments

    urlpatterns.append(path("api/pay", Payments.as_view()))
