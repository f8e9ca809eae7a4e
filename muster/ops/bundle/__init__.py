"""The support bundle: what somebody else needs to help, and nothing that is not theirs to know.

What goes in is chosen field by field, not what stays out. Names of clusters, of hosts and of sources become pseudonyms
that are the same within one bundle and tell nothing across two; free text (messages, evidence, endpoints, labels) stays
at home unless names are asked for. Credentials can't come in: no document that is read here has one. A last gate looks
for them all the same.
"""
