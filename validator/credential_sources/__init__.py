"""Where credentials come from: the entry itself, files that others renew, exec plugins."""
