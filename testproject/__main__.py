"""What manage.py is elsewhere: python -m testproject migrate."""

import os

from django.core.management import execute_from_command_line

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")

if __name__ == "__main__":
    execute_from_command_line()
