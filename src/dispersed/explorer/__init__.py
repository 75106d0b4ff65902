"""The explorer: a page in the browser on which memories are seen, dragged and recalled.

The page draws; `server` answers; every number comes from the library. `scene` reads what is on the screen as a
memory and a noise level, `landscape` and `digits` show it, `attractors` finds where basins split, and `code` writes it
down as Python. `work` bounds what requests may take.
"""
