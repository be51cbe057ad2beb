"""The application that uvicorn serves in the tests."""

import os

from django.core.asgi import get_asgi_application

from tests.asgi import points

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.support.live_settings")
application = get_asgi_application()
points.install()
