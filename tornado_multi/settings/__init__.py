"""Settings: one typed class per group; every option is written exactly once.

``model`` holds the classes (and is all that zygote and workers import), ``load`` derives flags,
environment names and file keys from them, ``reference`` derives the page in docs.
"""
