"""`make run`: everything on one machine, without any configuration. Part of the composition root; imported by nobody.

`start.py` tells the order of things; each of its steps is a function of one of the other modules.
"""
