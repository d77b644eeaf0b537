"""Pure values and decisions of Lambda: no clock, no I/O, no `async`."""
