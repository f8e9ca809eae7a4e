"""How things look in a terminal. Pure: documents in, rich renderables out; what is elsewhere's is made printable."""
