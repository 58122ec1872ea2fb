"""News of content for whoever sits above this app. Sent inside the transaction of the change."""

from django.dispatch import Signal

# Argument: inbox. Nothing is erased yet: whoever works on rows of its content locks these first.
content_goes = Signal()
# Arguments: inbox, source_ids (the InboundMail rows that its messages were read from).
content_erased = Signal()
# Arguments: inbox, message_ids. The same where only some of its messages go: they are still there, and the inbox is not locked yet.
messages_go = Signal()
# Arguments: inbox, source_ids (the InboundMail rows that they were read from). They are gone.
messages_erased = Signal()
