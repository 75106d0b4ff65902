"""The paper's tables, figures and claims: a folder for each experiment, and the report of all of them.

A folder holds what the experiment measures (`measure`, functions that return rows), what is claimed of the rows and
when they support it (`claims`), its picture (`plot`) and its record in the catalogue.
"""
