"""The receiving side: a CA that enrols by EST, and the ingest of OTLP.

Read it from `app.py` down. Who may send is decided in three places and nowhere else: `enrolment.py` (a token becomes a
certificate), `peers.py` (a certificate becomes an organisation, on every request), `ingest.py` (an organisation's batch
becomes rows). Nothing that a body says about whose it is counts.
"""
