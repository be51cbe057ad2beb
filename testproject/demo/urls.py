from django.urls import include, path
from rest_framework.routers import SimpleRouter

from .views import BriefPaymentViewSet, UnprotectedPaymentViewSet

router = SimpleRouter()
router.register("brief/payments", BriefPaymentViewSet, basename="brief-payment")
router.register("unprotected/payments", UnprotectedPaymentViewSet, basename="unprotected-payment")

urlpatterns = [
    path("api/", include(router.urls)),
    path("", include("testproject.urls")),
]
