"""The application that gunicorn serves in the tests."""

import os

import django
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.support.live_settings")
django.setup()

from tests.support import points  # noqa: E402

points.install()
application = get_wsgi_application()
