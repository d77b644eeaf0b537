"""Event patterns: EventBridge's rules, Lambda's filters and pipes all speak this language.

    pattern = compile_pattern('{"detail": {"status": ["paid", {"prefix": "re"}], "total": [{"numeric": [">", 10]}]}}')
    pattern.matches({"detail": {"status": "refunded", "total": 12}})

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-event-patterns.html
"""

from lambent.model.event_pattern.compiling import NUMBER_MAX
from lambent.model.event_pattern.matching import EventPattern, compile_pattern
from lambent.model.event_pattern.tokens import PatternError

__all__ = ["NUMBER_MAX", "EventPattern", "PatternError", "compile_pattern"]
