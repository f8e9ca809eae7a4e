"""What is kept in a backup location: its objects listed, the backups among them recognised, an inventory made of it."""
