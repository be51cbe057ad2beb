from django.urls import include, path

from tests.asgi import bank
from tests.bank import plain

coroutines = [
    path("pay", bank.function),
    path("method", bank.MethodView.as_view()),
    path("named", bank.NamedView.as_view()),
    path("wrapped", bank.wrapped),
    path("rerun", bank.rerun),
    path("brief", bank.brief),
    path("brief/rerun", bank.brief_rerun),
    path("optional", bank.optional),
    path("waiting", bank.waiting),
    path("guarded", bank.guarded),
    path("commit", bank.commit),
    path("commit/rerun", bank.commit_rerun),
    path("commit/brief", bank.commit_brief),
    path("commit/optional", bank.commit_optional),
]

urlpatterns = [
    path("plain/ready", bank.ready),
    path("plain/pay", plain.function),
    path("async/", include(coroutines)),
]
