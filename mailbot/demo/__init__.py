"""`make demo`: the story of the product, told by a client.

Nothing here imports anything of the server: it speaks HTTP and SMTP as an agent and a customer do, so it also shows how
the product is used. `story.py` is the story, `clients.py` the two ways to speak, `server.py` whom to speak to.
"""
