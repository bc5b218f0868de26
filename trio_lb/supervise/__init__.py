"""Processes: a supervisor that owns the truth, and workers that forward requests.

The same service that an embedding program runs (`trio_lb.runtime.service`) runs in every worker;
this is a layer around it and never a second implementation.
"""
