from django.urls import path

from tests.webhooks.views import endpoint, header_id, ready

urlpatterns = [
    path("plain/ready", ready),
    path("events", endpoint()),
    path("other/events", endpoint()),
    path("standard", endpoint(header_id)),
    path("optional", endpoint(header_id, required=False)),
]
