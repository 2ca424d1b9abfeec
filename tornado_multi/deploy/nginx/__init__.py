"""nginx in front of the service: its configuration, made of the settings, and a look at existing ones."""
