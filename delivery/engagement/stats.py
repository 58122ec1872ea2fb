"""What the counts of threads.event_counts come to."""

# Each rate: what of how many. `arrived`: see rates_of.
RATES = {
    "delivery_rate": ("delivered", "sent"),
    "bounce_rate": ("bounced", "sent"),
    "complaint_rate": ("complained", "arrived"),
    "unsubscribe_rate": ("unsubscribed", "arrived"),
    "open_rate": ("messages_opened", "arrived"),
    "click_rate": ("messages_clicked", "arrived"),
}


def rates_of(counts: dict[str, int]) -> dict[str, float | None]:
    """Shares from 0 to 1, four places; None where there is nothing to be a share of.

    What arrived is what was told delivered. A smart host tells nothing of that: where nothing was, it is what was sent and did not bounce.

    They may be above 1 for a while: what was sent yesterday is delivered today.
    """
    arrived = counts["delivered"] or max(counts["sent"] - counts["bounced"], 0)
    of = {**counts, "arrived": arrived}
    return {name: round(of[part] / of[whole], 4) if of[whole] else None for name, (part, whole) in RATES.items()}
