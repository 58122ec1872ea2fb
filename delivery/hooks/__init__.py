"""What ESPs call us for: news of mail that we sent, and mail that they took in for us.

The request checks, stores and answers (`views`, `calls`); a worker does the rest, in any order, late or repeated (`news`, `fetched`).
"""
