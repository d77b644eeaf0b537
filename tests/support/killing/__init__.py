"""A server that is killed again and again while everything that calls functions is in use; and what must be true in the end.

`lives` starts and kills it, `load` sends and notes what was accepted, `receivers` take messages, `functions` leave traces of what
they did, `checks` compares all of it.
"""
