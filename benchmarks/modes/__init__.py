"""Prefork or instances: what each needs of memory, and how evenly each spreads requests."""
