"""The road: from an invocation to a function's process and back."""
