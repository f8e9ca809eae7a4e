"""Whether anything may be sent: the decision, its record and its log, and what it is about."""
