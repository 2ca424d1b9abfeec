"""Script mode: a program with its own main, that calls ``bind_sockets`` and ``fork_processes``.

Joins the rooms of supervisor, zygote and worker in one program, because each of the three begins in
the user's own main.
"""
