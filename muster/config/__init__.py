"""The settings in parts: fields, file, where values come from, how mistakes are told. The door: `muster.settings`."""
