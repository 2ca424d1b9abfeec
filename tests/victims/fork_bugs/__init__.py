"""Programs that go wrong at a fork, one module each; the same module runs forked by Tornado alone
(``plain``) and as an app of ``serve`` (``served``).

A module does something at import, in what will be the parent of workers. ``in_child(index)`` is
what a child does with it, ``in_parent()`` what the parent finds afterwards; both return plain data.
``in_worker(index)`` replaces ``in_child`` under ``serve`` where the child's part differs, and
``LEAVES_BY_EXIT`` says that a plain child ends by ``sys.exit``.
"""
