from django.urls import include, path
from rest_framework.authtoken.views import obtain_auth_token
from rest_framework.routers import SimpleRouter

from .views import AccountViewSet, CardPaymentViewSet, PaymentViewSet, RefundViewSet

router = SimpleRouter()
router.register("accounts", AccountViewSet, basename="account")
router.register("payments", PaymentViewSet, basename="payment")
router.register("card-payments", CardPaymentViewSet, basename="card-payment")
router.register("refunds", RefundViewSet, basename="refund")

urlpatterns = [
    path("", include(router.urls)),
    path("token/", obtain_auth_token),
]
