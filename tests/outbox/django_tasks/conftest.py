"""Django before 6.0 has no tasks, and nothing to collect here."""

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("django.tasks") else ["test_*.py"]
