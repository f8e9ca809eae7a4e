"""What leaves, where the customer has opted in: a client, a receiving side to stand on, and the wire between them."""
