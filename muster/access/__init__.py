"""Who may do what: tokens, sessions, roles, the audit log."""
