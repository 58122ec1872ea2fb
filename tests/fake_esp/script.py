"""What is to be done to a mail, as the mail itself says it: `[429=2, cut]` somewhere in its text."""

import re
from collections import Counter
from collections.abc import Iterable


class Script:
    """For each try of a mail its step, and `ok` for further ones."""

    def __init__(self, steps: Iterable[str]) -> None:
        self._pattern = re.compile(r"\[((?:(?:" + "|".join(steps) + r")(?:=\d+)?(?:,\s*)?)+)\]")
        self._tries: Counter[str] = Counter()

    def step_of(self, text: str, message_id: str) -> tuple[str, int]:
        """The step of this try, and the number behind it (0: there is none)."""
        script = self._pattern.search(text)
        if script is None:
            return "ok", 0
        steps = [step.strip() for step in script[1].split(",") if step.strip()]
        who = message_id or script[0]
        number, self._tries[who] = self._tries[who], self._tries[who] + 1
        name, _, amount = (steps[number] if number < len(steps) else "ok").partition("=")
        return name, int(amount or 0)
