"""The customer's side: consent, enrolment, spool, sender."""
