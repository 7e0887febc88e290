"""A benchmark whose text runs in a process of its own."""

RAW = """
class Raw:
    def timeraw_value(self):
        return "thing.value()", "import thing"
"""


def test_the_process_of_a_benchmark_imports_the_version_of_its_side(sides):
    made = sides(RAW, "def value(): pass\n", "def value(): sum(range(20000))\n")
    (found,) = made.measure(until=lambda gate: gate.dossiers[0].effects).main.cells
    assert found.error is None
    assert found.effects[0].head > 10 * found.effects[0].base
