"""Deployment files, made of the settings. Pure, except for the modules that say otherwise."""
