"""Logs per process: files that several processes may write and rotate, their form, and reading them.

Each process writes its own records; none passes through the supervisor, which uses ``append_file``
alone, for its own lines. Below loading, zygote and worker, which set the logs up; above process.
"""
