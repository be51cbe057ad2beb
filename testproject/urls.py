from django.contrib import admin
from django.contrib.staticfiles.urls import staticfiles_urlpatterns
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView

from testproject.payments import pages
from testproject.payments.webhooks import gateway_events

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("api/", include("testproject.payments.urls")),
    path("pay/<int:account>/", pages.pay, name="pay"),
    path("receipts/<int:pk>/", pages.receipt, name="receipt"),
    path("webhooks/gateway", gateway_events),
    path("schema/", SpectacularAPIView.as_view()),
    # Only under DEBUG: lets the admin have its style sheets without runserver.
    *staticfiles_urlpatterns(),
]
