from django.urls import include, path
from rest_framework.routers import SimpleRouter

from tests.openapi import views

router = SimpleRouter()
router.register("actions", views.Actions, basename="action")
router.register("assigned", views.Assigned, basename="assigned")
router.register("models", views.Models, basename="model")
router.register("described", views.InheritedAndDescribed, basename="described")

urlpatterns = [
    path("above", views.Above.as_view()),
    path("below", views.Below.as_view()),
    path("wrapped", views.Wrapped.as_view()),
    path("function", views.function),
    path("function/below", views.function_described_below),
    path("named", views.ByName.as_view()),
    path("created", views.Created.as_view()),
    path("posted", views.Posted.as_view()),
    path("own", views.OwnPost.as_view()),
    path("event", views.Event.as_view()),
    path("optional", views.Optional.as_view()),
    path("errors", views.OwnErrors.as_view()),
    path("header", views.OwnHeader.as_view()),
    path("byhand", views.ByHand.as_view()),
    path("tagged", views.Tagged.as_view()),
    path("", include(router.urls)),
]
