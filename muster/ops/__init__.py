"""What keeps the service running well: its manager, its examination, its backups, its bundle for support."""
