from django.urls import path

from tests.forms.views import Pay, held, optional, pay, ready

urlpatterns = [
    path("plain/ready", ready),
    path("held", held),
    path("form", Pay.as_view()),
    path("pay", pay),
    path("optional", optional),
]
