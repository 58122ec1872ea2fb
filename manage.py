#!/usr/bin/env python
"""Django's command line for mailbot: `python manage.py help`."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mailbot.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    from mailbot.lib.scope import act_for_everybody_outside_of_requests

    act_for_everybody_outside_of_requests()  # whoever may run a command here runs the server
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"mailbot is not set up right: {error}")


if __name__ == "__main__":
    main()
