"""What the documentation shows of sending."""

FILE = {"filename": "receipt.txt", "content_type": "text/plain", "content": "VGhhbmsgeW91Lg=="}
SEND = {
    "to": ["Carol <carol@shop.example>"],
    "subject": "Invoice 2041",
    "body_text": "Invoice 2041 is due on Friday.",
    "attachments": [FILE],
    "labels": ["invoice"],
}
REPLY = {"body_text": "Of course: half now, half in May.", "reply_all": False}
FORWARD = {"to": "bookkeeping@shop.example", "body_text": "Please note the two parts."}
