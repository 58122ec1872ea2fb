"""What the counts of threads.event_counts come to."""

# Each rate: what of how many.
RATES = {
    "delivery_rate": ("delivered", "sent"),
    "bounce_rate": ("bounced", "sent"),
    "complaint_rate": ("complained", "delivered"),
    "unsubscribe_rate": ("unsubscribed", "delivered"),
    "open_rate": ("messages_opened", "delivered"),
    "click_rate": ("messages_clicked", "delivered"),
}


def rates_of(counts: dict[str, int]) -> dict[str, float | None]:
    """Shares from 0 to 1, four places; None where there is nothing to be a share of.

    They may be above 1 for a while: what was sent yesterday is delivered today.
    """
    return {
        name: round(counts[part] / counts[whole], 4) if counts[whole] else None for name, (part, whole) in RATES.items()
    }
