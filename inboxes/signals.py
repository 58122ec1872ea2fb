"""News of inboxes for whoever sits above this app. Sent inside the transaction of the change; a receiver that fails undoes it."""

from django.dispatch import Signal

# Arguments: inbox, event (see threads.events.EventType), data.
inbox_changed = Signal()
# Argument: inbox. It is purged next, and its row is not locked yet: who locks rows of its content before that one locks them now.
inbox_goes = Signal()
# Argument: inbox. Whoever holds content of it erases that content now.
inbox_purged = Signal()
# Argument: domain. It has just been proven that it is its account's.
domain_verified = Signal()
