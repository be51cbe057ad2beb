from django.urls import include, path
from rest_framework.routers import SimpleRouter

from tests.bank import drf

router = SimpleRouter()
router.register("payments", drf.PaymentViewSet)

urlpatterns = [
    path("", include(router.urls)),
    path("pay", drf.PayView.as_view()),
    path("pay/other", drf.OtherPayView.as_view()),
    path("function", drf.function),
    path("joined", drf.JoinedView.as_view()),
    path("optional", drf.OptionalView.as_view()),
    path("guarded", drf.GuardedView.as_view()),
    path("waiting", drf.WaitingView.as_view()),
    path("versioned", drf.VersionedView.as_view()),
    path("envelope", drf.EnvelopeView.as_view()),
]
