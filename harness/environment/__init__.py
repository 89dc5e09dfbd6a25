"""How a system comes up and goes away again: native processes first; containers and external systems beside them.

``native`` is the door: ``boot`` for as long as a ``with`` block lasts, ``up`` and ``down`` for a stack that stays.
What runs is described by ``stack.Stack``, what one process can be made to do by the protocols in ``capabilities``.
"""
