"""What of a code object its fingerprint tells."""

from textwrap import dedent

import pytest

from bench_core.workers.fingerprint import SILENT, fingerprint, is_function


def module(text):
    return compile(dedent(text), "anywhere.py", "exec")


def function(text, name="f"):
    return next(one for one in module(text).co_consts if getattr(one, "co_name", "") == name)


UNLIKE = {
    "another constant": ("def f(): return 1", "def f(): return 2"),
    "another type of constant": ("def f(): return 1", "def f(): return 1.0"),
    "true for one": ("def f(): return 1", "def f(): return True"),
    "the sign of zero": ("def f(): return 0.0", "def f(): return -0.0"),
    "another type in a tuple": ("def f(): return (1, 2)", "def f(): return (1, 2.0)"),
    "another name": ("def f(): return a", "def f(): return b"),
    "another attribute": ("def f(x): return x.a", "def f(x): return x.b"),
    "a nested function": ("def f():\n def g(): return 1\n return g", "def f():\n def g(): return 2\n return g"),
    "a lambda inside": ("def f(): return lambda: 1", "def f(): return lambda: 2"),
    "a class inside": ("def f():\n class C:\n  x = 1", "def f():\n class C:\n  x = 2"),
    "an exception's handler": (
        "def f():\n try: a()\n except KeyError: b()",
        "def f():\n try: a()\n except ValueError: b()",
    ),
    "a docstring": ("def f():\n 'One.'", "def f():\n 'Two.'"),
    "lines that lie otherwise": ("def f():\n a()\n b()", "def f():\n a()\n\n b()"),
}


@pytest.mark.parametrize("what", UNLIKE)
def test_functions_that_differ_have_other_fingerprints(what):
    one, other = map(function, UNLIKE[what])
    assert fingerprint(one) != fingerprint(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("def f(): return 1", "\n\n\ndef f(): return 1"),
        ("def f(): return 1", "def f(): return 1  # one"),
        ("def f():\n return {'a', 'b', 'c'} - {x}", "\ndef f():\n return {'a', 'b', 'c'} - {x}"),
    ],
)
def test_a_function_has_the_same_fingerprint_wherever_it_stands(one, other):
    assert fingerprint(function(one)) == fingerprint(function(other))


OUTSIDE = {
    "a statement of the module": ("x = 1", "x = 2"),
    "a default": ("def f(a=1): pass", "def f(a=2): pass"),
    "an annotation": ("def f(a: int): pass", "def f(a: str): pass"),
    "a decorator": ("@a\ndef f(): pass", "@b\ndef f(): pass"),
    "the name of an argument": ("def f(a): pass", "def f(b): pass"),
    "an argument more": ("def f(a): pass", "def f(a, b): pass"),
    "an argument by keyword only": ("def f(a, b): pass", "def f(a, *, b): pass"),
    "a docstring": ("def f():\n 'One.'", "def f():\n 'Two.'"),
    "a docstring more": ("def f():\n return 1", "def f():\n 'One.'\n return 1"),
    "a generator for a function": ("def f(): return 1", "def f(): yield 1"),
    "a coroutine for a function": ("def f(): return 1", "async def f(): return 1"),
    **({"the frame of a generator": ("def f():\n yield 1", "def f():\n a = b = c = 1\n yield 1")} if SILENT else {}),
    "the order of functions": ("def f(): pass\ndef g(): pass", "def g(): pass\ndef f(): pass"),
    "a function more": ("def f(): pass", "def f(): pass\ndef g(): pass"),
    "an attribute of a class": ("class C:\n x = 1", "class C:\n x = 2"),
    "the base of a class": ("class C(A): pass", "class C(B): pass"),
    "a docstring of a method": ("class C:\n def f(self):\n  'One.'", "class C:\n def f(self):\n  'Two.'"),
    "super in a method": ("class C:\n def f(self): pass", "class C:\n def f(self): super()"),
}


@pytest.mark.skipif("sys.version_info >= (3, 14)", reason="annotations are functions there")
@pytest.mark.parametrize("what", OUTSIDE)
def test_what_is_seen_of_a_function_without_running_it_belongs_to_the_module(what):
    one, other = map(module, OUTSIDE[what])
    assert fingerprint(one) != fingerprint(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("def f(): return 1", "def f(): return 2"),
        (
            "class C:\n def f(self): return 1\n def g(self): pass",
            "\nclass C:\n def f(self):\n  x = 1\n  return x\n def g(self): pass",
        ),
        ("def f():\n yield 1", "def f():\n yield 2"),
    ],
)
def test_the_bodies_of_functions_do_not_belong_to_the_module(one, other):
    assert fingerprint(module(one)) == fingerprint(module(other))


def test_scopes_are_told_from_functions():
    code = module("class C:\n def f(self): pass\ndef g(): pass\nx = lambda: 1\ny = (a for a in b)")
    inner = {one.co_name: is_function(one) for one in code.co_consts if hasattr(one, "co_name")}
    assert inner == {"C": False, "g": True, "<lambda>": True, "<genexpr>": True}
    assert not is_function(code)
