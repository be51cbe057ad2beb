from django.urls import path

from tests.bank import plain

urlpatterns = [
    path("ready", plain.ready),
    path("bare", plain.pay),
    path("pay", plain.function),
    path("pay/other", plain.function),
    path("method", plain.MethodView.as_view()),
    path("named", plain.NamedView.as_view()),
    path("wrapped", plain.wrapped),
    path("optional", plain.optional),
    path("joined", plain.joined),
    path("guarded", plain.guarded),
    path("waiting", plain.waiting),
    path("forgetful", plain.forgetful),
    path("outer", plain.outer),
]
