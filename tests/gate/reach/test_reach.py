"""Which cells a change can reach. Every package here is a way in which a change may reach a cell, or seem to.

One recording serves most of them: each has a module of its own, and cells of its own.
"""

import re
from textwrap import dedent

import pytest

from bench_core.gate.reach.reach import reach

SLOW = "sum(range(1000))"

WAYS = {
    # name: module on base, what differs on head, setup and call of a cell, what the reason must hold ("" for unaffected)
    "called": ("def f():\n    return 1", ("1", SLOW), "", "m.f()", "runs m.f"),
    "not_called": ("def f():\n    return 1\ndef g():\n    return 2", ("return 1", f"return {SLOW}"), "", "m.g()", ""),
    "in_setup": ("def f():\n    return 1", ("1", SLOW), "m.f()", "pass", "runs m.f"),
    "method": (
        "class C:\n    def f(self):\n        return 1",
        ("1", SLOW),
        "self.c = m.C()",
        "self.c.f()",
        "runs m.C.f",
    ),
    "other_method": (
        "class C:\n    def f(self):\n        return 1\n    def g(self):\n        return 2",
        ("return 1", f"return {SLOW}"),
        "self.c = m.C()",
        "self.c.g()",
        "",
    ),
    "property": (
        "class C:\n    @property\n    def f(self):\n        return 1",
        ("return 1", f"return {SLOW}"),
        "self.c = m.C()",
        "self.c.f",
        "runs m.C.f",
    ),
    "key_of_sorted": (
        "def f(x):\n    return x\ndef g():\n    return sorted([3, 1], key=f)",
        ("return x", f"return x + {SLOW}"),
        "",
        "m.g()",
        "runs m.f",
    ),
    "recursion": (
        "def f(n):\n    return f(n - 1) if n else g()\ndef g():\n    return 1",
        ("return 1", f"return {SLOW}"),
        "",
        "m.f(50)",
        "runs m.g",
    ),
    "generator": ("def f():\n    yield 1", ("yield 1", f"yield {SLOW}"), "", "list(m.f())", "runs m.f"),
    "coroutine": (
        "async def f():\n    return 1\ndef g():\n    import asyncio\n    return asyncio.run(f())",
        ("return 1", f"return {SLOW}"),
        "",
        "m.g()",
        "runs m.f",
    ),
    "thread_of_setup": (
        """
        import threading, queue
        def f():
            return 1
        def serve(q, out):
            while q.get():
                out.put(f())
        def start():
            q, out = queue.Queue(), queue.Queue()
            threading.Thread(target=serve, args=(q, out), daemon=True).start()
            return q, out
        """,
        ("return 1", f"return {SLOW}"),
        "self.q, self.out = m.start()",
        "self.q.put(1); self.out.get()",
        "runs m.f",
    ),
    "raw_thread": (
        """
        import _thread
        def f(lock):
            lock.release()
        def g():
            lock = _thread.allocate_lock()
            lock.acquire()
            _thread.start_new_thread(f, (lock,))
            lock.acquire()
        """,
        ("lock.release()", f"{SLOW}; lock.release()"),
        "",
        "m.g()",
        "thread|runs m.f",
    ),
    "foreign_thread": (
        """
        import ctypes
        def f(arg):
            return None
        BACK = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
        def called(arg):
            return f(arg)
        HELD = BACK(called)
        def g():
            c = ctypes.CDLL(None)
            thread = ctypes.c_ulong()
            c.pthread_create(ctypes.byref(thread), None, HELD, None)
            c.pthread_join(thread, None)
        """,
        ("return None", f"{SLOW}; return None"),
        "",
        "m.g()",
        "thread|runs m.f",
    ),
    "process": (
        "import subprocess, sys\ndef f():\n    return 1\ndef g():\n    subprocess.run([sys.executable, '-c', ''])",
        ("return 1", f"return {SLOW}"),
        "",
        "m.g()",
        "starts another process",
    ),
    "forked": (
        "import os\ndef f():\n    return 1\ndef g():\n    p = os.fork()\n    if not p:\n        f()\n        os._exit(0)\n"
        "    os.waitpid(p, 0)",
        ("return 1", f"return {SLOW}"),
        "",
        "m.g()",
        "starts another process",
    ),
    "cached": (
        "import functools\n@functools.lru_cache\ndef f():\n    return 1",
        ("return 1", f"return {SLOW}"),
        "",
        "m.f()",
        "runs m.f",
    ),
    "cached_again": (  # another cell has called it already, in another process
        "",
        ("", ""),
        "",
        "from thing import cached; cached.cached_f()",
        "runs thing.cached.cached_f",
    ),
    "finalizer": (
        "class C:\n    def __init__(self):\n        self.own = self\n    def __del__(self):\n        pass",
        ("pass", SLOW),
        "",
        "m.C()",
        "runs m.C.__del__",
    ),
    "source_read": (
        "import inspect\ndef f():\n    return 1\ndef g():\n    return inspect.getsource(g)",
        ("return 1", f"return {SLOW}"),
        "",
        "m.g()",
        "looks at the code of m.g",
    ),
    "file_opened": (
        "def f():\n    return 1\ndef g():\n    return len(open(__file__).read())",
        ("return 1", f"return {SLOW}"),
        "",
        "m.g()",
        "reads thing/file_opened.py",
    ),
    "size_of_file": (
        "import os\ndef f():\n    return 1\ndef g():\n    return os.stat(__file__).st_size",
        ("return 1", f"return {SLOW}"),
        "",
        "m.g()",
        "reads thing/size_of_file.py",
    ),
    "code_read": (
        "def f():\n    return 1\ndef g(x):\n    return len(x.__code__.co_code)\nHELD = f",
        ("return 1", f"return {SLOW}"),
        "",
        "m.g(m.HELD)",
        "looks at the code of m.f",
    ),
    "code_of_another": (
        "import json\ndef f():\n    return 1\ndef g(x):\n    return len(x.__code__.co_code)\nHELD = json.dumps",
        ("return 1", f"return {SLOW}"),
        "",
        "m.g(m.HELD)",
        "",
    ),
    "code_given": (
        "def f():\n    return 1\ndef h():\n    return 2\ndef g(x):\n    h.__code__ = x.__code__\n    return h()\nHELD = f",
        ("return 1", f"return {SLOW}"),
        "",
        "m.g(m.HELD)",
        "m.f",
    ),
    "all_objects": (
        "import gc\ndef f():\n    return 1\ndef g():\n    return len(gc.get_objects())",
        ("return 1", f"return {SLOW}"),
        "",
        "m.g()",
        "looks at all objects",
    ),
    "traceback": (
        "def f():\n    return 1\ndef g():\n    try:\n        1 / 0\n    except ZeroDivisionError as e:\n"
        "        return [0] * e.__traceback__.tb_lineno",
        ("    return 1", f"    x = 1\n    return {SLOW}"),
        "",
        "m.g()",
        "can tell the lines",
    ),
    "raised_and_caught": (
        "def f():\n    return 1\ndef g():\n    try:\n        1 / 0\n    except ZeroDivisionError:\n        pass",
        ("    return 1", f"    x = 1\n    return {SLOW}"),
        "",
        "m.g()",
        "",
    ),
    "warning": (
        "import warnings\ndef f():\n    return 1\ndef g():\n    warnings.simplefilter('default')\n    warnings.warn('old')",
        ("    return 1", f"    x = 1\n    return {SLOW}"),
        "",
        "m.g()",
        "warning|lines|reads",
    ),
    "generated": (
        "def f():\n    return 1\ndef g():\n    scope = {}\n    exec('def made(x):\\n    return x()', scope)\n"
        "    return scope['made'](HELD)\nHELD = f",
        ("return 1", f"return {SLOW}"),
        "",
        "m.g()",
        "runs m.f",
    ),
    "generated_from_text": (
        "def text():\n    return '1'\ndef g():\n    return eval(text())",
        ("'1'", f"'{SLOW}'"),
        "",
        "m.g()",
        "runs m.text",
    ),
    "generated_unlike": (  # the name is drawn, so the code is another each time
        "import random\ndef f():\n    return 1\ndef g():\n    return eval(f'{random.random()}')",
        ("return 1", f"return {SLOW}"),
        "",
        "m.g()",
        "other code each time",
    ),
    "patched": (
        "def f():\n    return 1\ndef h():\n    return 2\ndef patch():\n    global h\n    h = f\ndef g():\n    return h()",
        ("return 1", f"return {SLOW}"),
        "m.patch()",
        "m.g()",
        "runs m.f",
    ),
    "lazy_import": (
        "def g():\n    from thing import lazily\n    return lazily.VALUE",
        ("", ""),
        "",
        "m.g()",
        "runs thing.lazily",
    ),
    "rare_branch": (
        "import random\ndef f():\n    return 1\ndef g():\n    return f() if random.random() < 1e-9 else 2",
        ("return 1", f"return {SLOW}"),
        "",
        "m.g()",
        "may call m.f",
    ),
    "every_twentieth": (
        "CALLS = []\ndef f():\n    return 1\nHELD = [f]\ndef g():\n    CALLS.append(1)\n"
        "    return HELD[0]() if len(CALLS) % 20 == 0 else 2",
        ("return 1", f"return {SLOW}"),
        "",
        "m.g()",
        "runs m.f",
    ),
    "profile_off": (
        "import sys\ndef f():\n    return 1\ndef g():\n    sys.setprofile(None)",
        ("return 1", f"return {SLOW}"),
        "",
        "m.g()",
        "switches the recording off",
    ),
    "fails": (
        "def f():\n    return 1\ndef g():\n    1 / 0",
        ("return 1", f"return {SLOW}"),
        "",
        "m.g()",
        "ZeroDivision",
    ),
    "skips": (
        "def f():\n    return 1",
        ("return 1", f"return {SLOW}"),
        "raise NotImplementedError('not here')",
        "pass",
        "not here",
    ),
    "exits": (
        "import os\ndef f():\n    return 1",
        ("return 1", f"return {SLOW}"),
        "",
        "__import__('os')._exit(0)",
        "ends",
    ),
    "only_on_head": (
        "def f():\n    return 1\ndef g():\n    return 2",
        ("return 2", "return f()"),
        "",
        "m.g()",
        "runs m.f|runs m.g",
    ),
    "default_factory": (
        "import dataclasses\ndef f():\n    return 1\n@dataclasses.dataclass\nclass C:\n"
        "    x: int = dataclasses.field(default_factory=f)",
        ("return 1", f"return {SLOW}"),
        "",
        "m.C()",
        "runs m.f",
    ),
    "dataclass": (
        "import dataclasses\ndef f():\n    return 1\n@dataclasses.dataclass\nclass C:\n    x: int = 1",
        ("return 1", f"return {SLOW}"),
        "",
        "m.C()",
        "",
    ),
    "fallback": (  # what is called with arguments that it does not take never runs
        "def f(x):\n    return 1\ndef g(f):\n    try:\n        return f()\n    except TypeError:\n        return 2\nHELD = f",
        ("return 1", f"return {SLOW}"),
        "",
        "m.g(m.HELD)",
        "",
    ),
    "comment": ("def f():\n    return 1", ("return 1", "return 1  # one"), "", "m.f()", ""),
}

LAZILY = ("VALUE = 1", f"VALUE = {SLOW}")


def own(name, text):
    """The text with names that no other module has, since who names a function that differs may call it."""
    return re.sub(r"\b([fghC])\b(?!')", rf"{name}_\1", text)


def cell(name, setup, call):
    return "\n".join(
        [
            f"class {name}:",
            "    def setup(self):",
            f"        from thing import {name} as m",
            *(f"        {line}" for line in (setup or "pass").splitlines()),
            "    def time_call(self):",
            f"        from thing import {name} as m",
            *(f"        {line}" for line in call.splitlines()),
            "",
        ]
    )


@pytest.fixture(scope="module")
def found(module_sides):
    base = {"thing/__init__.py": "", "thing/lazily.py": LAZILY[0]}
    head = {"thing/__init__.py": "", "thing/lazily.py": LAZILY[1]}
    for name, (module, (old, new), *_) in WAYS.items():
        text = own(name, dedent(module)) + "\n"
        base[f"thing/{name}.py"] = text
        assert not old or text.count(old) == 1, name
        head[f"thing/{name}.py"] = text.replace(old, own(name, new)) if old else text
    cases = "\n".join(cell(name, own(name, setup), own(name, call)) for name, (_, _, setup, call, _) in WAYS.items())
    sides = module_sides(cases, base, head)
    return reach(sides.subjects, sides.find(), lambda line: None)


@pytest.mark.parametrize("name", WAYS)
def test_a_cell_is_unaffected_only_if_the_change_cannot_reach_it(found, name):
    assert not found.everything
    expected = WAYS[name][-1]
    reason = found.through.get(f"calls.{name}.time_call", "")
    if expected:
        assert any(own(name, one).replace("m.", f"thing.{name}.") in reason for one in expected.split("|")), reason
    else:
        assert not reason
        assert f"calls.{name}.time_call" in found.unaffected
