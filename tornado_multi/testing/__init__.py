"""What tests of services have in common, for our own and for those of users.

Must not know: supervisor, zygote, worker, cli.
"""
