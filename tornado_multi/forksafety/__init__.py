"""What must not be shared through a fork: seen as it is made, named before, made harmless after.

    recorder      notes, from before the app's import on, which line has made what
    audit         lists what workers would inherit: descriptors, threads, objects of the heap
    findings      what is said of each: harm, mend, line. Pure
    inheritance   what happens at each fork: quarantine, locks, random numbers, finalizers

Runs in: zygote; its last part in the processes that the zygote forks.
"""
