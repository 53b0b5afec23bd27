"""Somebody's code in a process of its own, within limits on memory, time, output and processes.

`supervisor` is run as a program and loads the others by their paths, so that a process starts in a tenth of a second.
It forks, which Windows cannot. There each of these modules can be imported, and `runner` says what to do instead.
"""
