"""The trials that every published figure of the gate comes from: `python -m trials NAME --out results/trials`.

They are no part of the package. Each writes what it measured into a file of its machine, one line a run, and goes on
from there when it is started again; `summary` makes the tables.
"""
