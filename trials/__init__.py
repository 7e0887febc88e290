"""The trials behind every published figure of the gate: `python -m trials NAME --out results/trials`.

They are not part of the package. Each trial appends a line per run to a file of its machine, and continues from this
file when it is started again. `summary` makes the tables.
"""
