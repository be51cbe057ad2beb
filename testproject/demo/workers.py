"""Gunicorn's settings. In a file because Gunicorn passes over names here that it is too old to know."""

workers = 2
threads = 8
worker_class = "gthread"
accesslog = "-"
timeout = 60
graceful_timeout = 5
control_socket_disable = True
