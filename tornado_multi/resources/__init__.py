"""What must exist once per process: created on first use, closed in reverse order, set aside at a fork.

Must not know: supervisor, zygote, worker, Tornado.
"""
