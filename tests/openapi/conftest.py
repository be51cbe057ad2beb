"""An environment without drf-spectacular has nothing to collect here."""

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("drf_spectacular") else ["*.py"]
