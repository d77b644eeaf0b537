"""Interpreters: which ones the machine has, and what of ours runs inside the cage for each of them."""
