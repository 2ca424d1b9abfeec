"""The zygote: a fresh interpreter that imports the app once and forks workers on command.

No threads, no event loop. Must not know: supervisor code, worker code (it is given a function).
"""
