from django.contrib import admin
from django.contrib.staticfiles.urls import staticfiles_urlpatterns
from django.urls import include, path
from django.views.generic import RedirectView

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("api/", include("testproject.payments.urls")),
    # Only under DEBUG: lets the admin have its style sheets without runserver.
    *staticfiles_urlpatterns(),
]
