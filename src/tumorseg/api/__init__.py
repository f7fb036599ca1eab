"""The Python interface: everything that the command line does, as functions and a few objects.

Nothing is computed here; the rooms below do that. `import tumorseg` offers these names and loads them when used.
"""
