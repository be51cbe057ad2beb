"""What the desk's lists and pages have in common: on none of them anything is changed by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import connections, transaction
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_POST

M = TypeVar("M", bound=Model)
View = Callable[..., HttpResponse]

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

    ModelAdmin = admin.ModelAdmin
else:

    class ModelAdmin(Generic[M], admin.ModelAdmin):
        """Django's own cannot be subscripted."""


def by_itself(view: View) -> View:
    """The view outside of the transactions of ATOMIC_REQUESTS: what is sent must not be rolled back."""
    for alias in connections:
        view = transaction.non_atomic_requests(using=alias)(view)
    return view


class LookOnlyAdmin(ModelAdmin[M]):
    """Nothing is added, changed or deleted; what staff may do are acts, and resolution carries them out."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False


class DeskAdmin(LookOnlyAdmin[M]):
    """A list, and a page for each thing on it."""

    heading: StrOrPromise
    """Of the list."""

    list_display_links = None
    list_per_page = 50
    sortable_by = ()
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    actions: Sequence[Any] | None = None

    class Media:
        css = {"all": ["django_idempotency/desk.css"]}

    def page(self, request: HttpRequest, found: M) -> HttpResponse:
        raise NotImplementedError

    def found(self, request: HttpRequest, object_id: str) -> M:
        """Raises PermissionDenied, and Http404."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        found = self.get_object(request, unquote(object_id))
        if found is None:
            raise Http404
        return found

    def answer(
        self, request: HttpRequest, template: str, shown: Mapping[str, Any], *, status: int = 200
    ) -> HttpResponse:
        """One of the desk's templates, with what every page of Django's admin is shown."""
        usual = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "media": self.media,
            "heading": self.heading,
        }
        return TemplateResponse(request, f"admin/django_idempotency/{template}", {**usual, **shown}, status=status)

    def address(self, found: M) -> str:
        """Where its page is."""
        return reverse(f"{self.admin_site.name}:{self.name()}_change", args=[found.pk])

    def name(self) -> str:
        """With which the names of its addresses begin."""
        return f"{self.opts.app_label}_{self.opts.model_name}"

    def posts(self, views: dict[str, View]) -> list[URLPattern]:
        """The addresses that take what is sent to one thing's page."""
        wrap = self.admin_site.admin_view
        return [
            path(f"<path:object_id>/{act}/", by_itself(wrap(require_POST(view))), name=f"{self.name()}_{act}")
            for act, view in views.items()
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"title": self.heading, **(extra_context or {})})

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The page of one, to look at."""
        if request.method not in ("GET", "HEAD"):
            raise PermissionDenied
        try:
            found = self.found(request, object_id)
        except Http404:
            # Django's own answer, which sends the staff on to the index and says so.
            return super().change_view(request, object_id, form_url, extra_context)
        return self.page(request, found)
