"""What `make run` prints once everything answers."""

import os
from pathlib import Path

from mailbot.quickstart.credentials import Credentials, credentials_file

WIDTH = 80


def welcome(credentials: Credentials, seconds: float) -> None:
    """Print it to standard output, in colour on a terminal. `seconds`: how long the start took."""
    from rich.console import Console  # takes 0.1 s to load, which is free here: the processes are starting meanwhile
    from rich.text import Text

    console = Console(highlight=False)
    console.width = min(console.width, WIDTH)
    console.print()
    console.print(f"[bold green]mailbot is running[/] [dim](ready in {seconds:.1f} s; Ctrl-C stops it)[/]\n")
    for label, value in _lines(credentials):
        console.print(Text(f"  {label:<9}", style="bold").append(value, style="not bold"), soft_wrap=True)
    console.print("\nMake an inbox:\n")
    # One line without indent or break, so that it can be pasted however wide the terminal is.
    console.print(Text(curl_line(credentials), style="cyan"), soft_wrap=True)
    console.print(f"\n[dim]All of this is in {_shown(credentials_file())}.[/]\n", soft_wrap=True)


def curl_line(credentials: Credentials) -> str:
    return f'curl -X POST -H "Authorization: Bearer {credentials.MAILBOT_API_KEY}" {credentials.MAILBOT_URL}/v1/inboxes'


def _lines(credentials: Credentials) -> list[tuple[str, str]]:
    user, password = credentials.MAILBOT_ADMIN_USER, credentials.MAILBOT_ADMIN_PASSWORD
    return [
        ("API", f"{credentials.MAILBOT_URL}/v1"),
        ("Key", f"{credentials.MAILBOT_API_KEY} (sandbox)"),
        ("SMTP", credentials.MAILBOT_SMTP),
        ("Console", f"{credentials.MAILBOT_URL}/admin/"),
        ("", f"user {user}, password {password}"),
    ]


def _shown(file: Path) -> str:
    """Relative to the current folder where it is below it: shorter, and it can be pasted too."""
    relative = os.path.relpath(file)
    return str(file) if relative.startswith("..") else relative
