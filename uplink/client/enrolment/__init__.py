"""Who this installation is to the other side: key, certificate, and where they lie."""
