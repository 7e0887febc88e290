"""Which cells a change can reach. Every module here is a way in which a change may reach a cell, or seem to.

One recording serves all of them: each has cells of its own.
"""

import re
from dataclasses import dataclass
from textwrap import dedent

import pytest

from bench_core.gate.reach.reach import can_record, reach

pytestmark = pytest.mark.skipif(not can_record(), reason="this Python does not tell which functions run")


@dataclass
class Way:
    """A module, how head changes it, and a cell.

    Attributes:
        base: the text of the module on base. Cells import it as `m`.
        old, new: a text in it, and what head has instead; ``SLOW`` stands for something slow.
        call, setup: what the cell does.
        reason: what the reason must say through which the cell is affected, or any of several, with | between them; ""
            if the cell is unaffected. What ends with | may also be unaffected.
    """

    base: str
    old: str
    new: str
    call: str
    setup: str = "pass"
    reason: str = ""


SLOW = "sum(range(1000))"

WAYS = {
    "called": Way(
        """
        def f():
            return 1
        """,
        "1",
        "SLOW",
        call="m.f()",
        reason="runs m.f",
    ),
    "not_called": Way(
        """
        def f():
            return 1
        def g():
            return 2
        """,
        "return 1",
        "return SLOW",
        call="m.g()",
    ),
    "in_setup": Way(
        """
        def f():
            return 1
        """,
        "1",
        "SLOW",
        setup="m.f()",
        call="pass",
        reason="runs m.f",
    ),
    "method": Way(
        """
        class C:
            def f(self):
                return 1
        """,
        "1",
        "SLOW",
        setup="self.c = m.C()",
        call="self.c.f()",
        reason="runs m.C.f",
    ),
    "other_method": Way(
        """
        class C:
            def f(self):
                return 1
            def g(self):
                return 2
        """,
        "return 1",
        "return SLOW",
        setup="self.c = m.C()",
        call="self.c.g()",
    ),
    "property": Way(
        """
        class C:
            @property
            def f(self):
                return 1
        """,
        "return 1",
        "return SLOW",
        setup="self.c = m.C()",
        call="self.c.f",
        reason="runs m.C.f",
    ),
    "key_of_sorted": Way(
        """
        def f(x):
            return x
        def g():
            return sorted([3, 1], key=f)
        """,
        "return x",
        "return x + SLOW",
        call="m.g()",
        reason="runs m.f",
    ),
    "recursion": Way(
        """
        def f(n):
            return f(n - 1) if n else g()
        def g():
            return 1
        """,
        "return 1",
        "return SLOW",
        call="m.f(50)",
        reason="runs m.g",
    ),
    "generator": Way(
        """
        def f():
            yield 1
        """,
        "yield 1",
        "yield SLOW",
        call="list(m.f())",
        reason="runs m.f",
    ),
    "coroutine": Way(
        """
        async def f():
            return 1
        def g():
            import asyncio
            return asyncio.run(f())
        """,
        "return 1",
        "return SLOW",
        call="m.g()",
        reason="runs m.f",
    ),
    "thread_of_setup": Way(
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
        "return 1",
        "return SLOW",
        setup="self.q, self.out = m.start()",
        call="self.q.put(1); self.out.get()",
        reason="runs m.f",
    ),
    "raw_thread": Way(
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
        "lock.release()",
        "SLOW; lock.release()",
        call="m.g()",
        reason="thread|runs m.f",
    ),
    "foreign_thread": Way(
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
        "return None",
        "SLOW; return None",
        call="m.g()",
        reason="thread|runs m.f",
    ),
    "process": Way(
        """
        import subprocess, sys
        def f():
            return 1
        def g():
            subprocess.run([sys.executable, '-c', ''])
        """,
        "return 1",
        "return SLOW",
        call="m.g()",
        reason="starts another process",
    ),
    "forked": Way(
        """
        import os
        def f():
            return 1
        def g():
            p = os.fork()
            if not p:
                f()
                os._exit(0)
            os.waitpid(p, 0)
        """,
        "return 1",
        "return SLOW",
        call="m.g()",
        reason="starts another process",
    ),
    "cached": Way(
        """
        import functools
        @functools.lru_cache
        def f():
            return 1
        """,
        "return 1",
        "return SLOW",
        call="m.f()",
        reason="runs m.f",
    ),
    "cached_again": Way(  # another cell has called it already, in another process
        "",
        "",
        "",
        call="from thing import cached; cached.cached_f()",
        reason="runs thing.cached.cached_f",
    ),
    "finalizer": Way(
        """
        class C:
            def __init__(self):
                self.own = self
            def __del__(self):
                pass
        """,
        "pass",
        "SLOW",
        call="m.C()",
        reason="runs m.C.__del__",
    ),
    "source_read": Way(
        """
        import inspect
        def f():
            return 1
        def g():
            return inspect.getsource(g)
        """,
        "return 1",
        "return SLOW",
        call="m.g()",
        reason="looks at the code of m.g",
    ),
    "file_opened": Way(
        """
        def f():
            return 1
        def g():
            return len(open(__file__).read())
        """,
        "return 1",
        "return SLOW",
        call="m.g()",
        reason="reads thing/file_opened.py",
    ),
    "size_of_file": Way(
        """
        import os
        def f():
            return 1
        def g():
            return os.stat(__file__).st_size
        """,
        "return 1",
        "return SLOW",
        call="m.g()",
        reason="reads thing/size_of_file.py",
    ),
    "path_resolved": Way(
        """
        import os, pathlib
        def f():
            return 1
        def g():
            return os.path.realpath(__file__), os.path.exists(__file__), pathlib.Path(__file__).is_file()
        """,
        "return 1",
        "return SLOW",
        call="m.g()",
    ),
    "folder_opened": Way(
        """
        import os
        def f():
            return 1
        def g():
            folder = os.open(os.path.dirname(__file__), os.O_RDONLY)
            return os.stat(os.path.basename(__file__), dir_fd=folder).st_size
        """,
        "return 1",
        "return SLOW",
        call="m.g()",
        reason="reads thing",
    ),
    "code_read": Way(
        """
        def f():
            return 1
        def g(x):
            return len(x.__code__.co_code)
        HELD = f
        """,
        "return 1",
        "return SLOW",
        call="m.g(m.HELD)",
        reason="looks at the code of m.f",
    ),
    "code_of_another": Way(
        """
        import json
        def f():
            return 1
        def g(x):
            return len(x.__code__.co_code)
        HELD = json.dumps
        """,
        "return 1",
        "return SLOW",
        call="m.g(m.HELD)",
    ),
    "code_given": Way(
        """
        def f():
            return 1
        def h():
            return 2
        def g(x):
            h.__code__ = x.__code__
            return h()
        HELD = f
        """,
        "return 1",
        "return SLOW",
        call="m.g(m.HELD)",
        reason="m.f",
    ),
    "all_objects": Way(
        """
        import gc
        def f():
            return 1
        def g():
            return len(gc.get_objects())
        """,
        "return 1",
        "return SLOW",
        call="m.g()",
        reason="looks at all objects",
    ),
    "traceback": Way(
        """
        def f():
            return 1
        def g():
            try:
                1 / 0
            except ZeroDivisionError as e:
                return [0] * e.__traceback__.tb_lineno
        """,
        "    return 1",
        "    x = 1\n    return SLOW",
        call="m.g()",
        reason="can tell the lines",
    ),
    "raised_and_caught": Way(
        """
        def f():
            return 1
        def g():
            try:
                1 / 0
            except ZeroDivisionError:
                pass
        """,
        "    return 1",
        "    x = 1\n    return SLOW",
        call="m.g()",
    ),
    "warning": Way(
        """
        import warnings
        def f():
            return 1
        def g():
            warnings.simplefilter('default')
            warnings.warn('old')
        """,
        "    return 1",
        "    x = 1\n    return SLOW",
        call="m.g()",
        reason="warning|lines|reads",
    ),
    "generated": Way(
        """
        def f():
            return 1
        def g():
            scope = {}
            exec('def made(x):\\n    return x()', scope)
            return scope['made'](HELD)
        HELD = f
        """,
        "return 1",
        "return SLOW",
        call="m.g()",
        reason="runs m.f",
    ),
    "generated_from_text": Way(
        """
        def text():
            return '1'
        def g():
            return eval(text())
        """,
        "'1'",
        "'SLOW'",
        call="m.g()",
        reason="runs m.text",
    ),
    "generated_unlike": Way(  # the number is drawn, so the code is another each time
        """
        import random
        def f():
            return 1
        def g():
            return eval(f'{random.random()}')
        """,
        "return 1",
        "return SLOW",
        call="m.g()",
        reason="other code each time",
    ),
    "patched": Way(
        """
        def f():
            return 1
        def h():
            return 2
        def patch():
            global h
            h = f
        def g():
            return h()
        """,
        "return 1",
        "return SLOW",
        setup="m.patch()",
        call="m.g()",
        reason="runs m.f",
    ),
    "lazy_import": Way(
        """
        def g():
            from thing import lazily
            return lazily.VALUE
        """,
        "",
        "",
        call="m.g()",
        reason="runs thing.lazily",
    ),
    "rare_branch": Way(
        """
        import random
        def f():
            return 1
        def g():
            return f() if random.random() < 1e-9 else 2
        """,
        "return 1",
        "return SLOW",
        call="m.g()",
        reason="may call m.f",
    ),
    "every_twentieth": Way(
        """
        CALLS = []
        def f():
            return 1
        HELD = [f]
        def g():
            CALLS.append(1)
            return HELD[0]() if len(CALLS) % 20 == 0 else 2
        """,
        "return 1",
        "return SLOW",
        call="m.g()",
        reason="runs m.f",
    ),
    "profile_off": Way(
        """
        import sys
        def f():
            return 1
        def g():
            sys.setprofile(None)
        """,
        "return 1",
        "return SLOW",
        call="m.g()",
        reason="switches the recording off",
    ),
    "fails": Way(
        """
        def f():
            return 1
        def g():
            1 / 0
        """,
        "return 1",
        "return SLOW",
        call="m.g()",
        reason="ZeroDivision",
    ),
    "skips": Way(
        """
        def f():
            return 1
        """,
        "return 1",
        "return SLOW",
        setup="raise NotImplementedError('not here')",
        call="pass",
        reason="not here",
    ),
    "exits": Way(
        """
        import os
        def f():
            return 1
        """,
        "return 1",
        "return SLOW",
        call="__import__('os')._exit(0)",
        reason="ends",
    ),
    "only_on_head": Way(
        """
        def f():
            return 1
        def g():
            return 2
        """,
        "return 2",
        "return f()",
        call="m.g()",
        reason="runs m.f|runs m.g",
    ),
    "default_factory": Way(
        """
        import dataclasses
        def f():
            return 1
        @dataclasses.dataclass
        class C:
            x: int = dataclasses.field(default_factory=f)
        """,
        "return 1",
        "return SLOW",
        call="m.C()",
        reason="runs m.f",
    ),
    "dataclass": Way(
        """
        import dataclasses
        def f():
            return 1
        @dataclasses.dataclass
        class C:
            x: int = 1
        """,
        "return 1",
        "return SLOW",
        call="m.C()",
    ),
    "fallback": Way(  # what is called with arguments that it does not take never runs
        """
        def f(x):
            return 1
        def g(f):
            try:
                return f()
            except TypeError:
                return 2
        HELD = f
        """,
        "return 1",
        "return SLOW",
        call="m.g(m.HELD)",
    ),
    "comment": Way(
        """
        def f():
            return 1
        """,
        "return 1",
        "return 1  # one",
        call="m.f()",
    ),
    "overload": Way(
        """
        import functools
        @functools.singledispatch
        def g(x):
            return 0
        @g.register
        def f(x: int):
            return 1
        """,
        "return 1",
        "return SLOW",
        call="m.g(1)",
        reason="runs m.f",
    ),
    "other_overload": Way(
        """
        import functools
        @functools.singledispatch
        def g(x):
            return 0
        @g.register
        def f(x: int):
            return 1
        """,
        "return 1",
        "return SLOW",
        call="m.g('')",
    ),
    "overloads_swapped": Way(  # both sides run the same code, at other times
        """
        import functools
        @functools.singledispatch
        def g(x):
            return 0
        @g.register
        def _(x: int):
            return 1
        @g.register
        def _(x: str):
            return 1 + 1000 ** x.__sizeof__()
        """,
        "int):\n    return 1\n@g.register\ndef _(x: str):\n    return 1 + 1000 ** x.__sizeof__()",
        "int):\n    return 1 + 1000 ** x.__sizeof__()\n@g.register\ndef _(x: str):\n    return 1",
        call="m.g(True); m.g('')",
        reason="runs m._",
    ),
    "name_put_together": Way(
        """
        def f():
            return 1
        """,
        "return 1",
        "return SLOW",
        call="getattr(m, '_'.join(['name', 'put', 'together', chr(102)]))()",
        reason="runs m.f",
    ),
    "attribute_of_module": Way(
        """
        def __getattr__(name):
            return 1
        """,
        "return 1",
        "return SLOW",
        call="m.anything",
        reason="runs m.__getattr__",
    ),
    "operator": Way(
        """
        class C:
            def __add__(self, other):
                return 1
        """,
        "return 1",
        "return SLOW",
        setup="self.c = m.C()",
        call="self.c + 1",
        reason="runs m.C.__add__",
    ),
    "class_of_classes": Way(
        """
        class C(type):
            def __call__(cls):
                return 1
        class g(metaclass=C):
            pass
        """,
        "return 1",
        "return SLOW",
        call="m.g()",
        reason="runs m.C.__call__",
    ),
    "pickled": Way(
        """
        import pickle
        class C:
            def __reduce__(self):
                return (list, ())
        """,
        "return (list, ())",
        "SLOW; return (list, ())",
        setup="self.c = m.C()",
        call="m.pickle.dumps(self.c)",
        reason="runs m.C.__reduce__",
    ),
    "weakly_referenced": Way(
        """
        import weakref
        class C:
            pass
        def f():
            return 1
        def g():
            weakref.finalize(C(), f)
        """,
        "return 1",
        "return SLOW",
        call="m.g()",
        reason="runs m.f",
    ),
    "pool_of_threads": Way(
        """
        from concurrent.futures import ThreadPoolExecutor
        def f():
            return 1
        def g():
            with ThreadPoolExecutor(1) as pool:
                return pool.submit(f).result()
        """,
        "return 1",
        "return SLOW",
        call="m.g()",
        reason="runs m.f",
    ),
    "pool_of_processes": Way(
        """
        import multiprocessing
        def f(x):
            return 1
        def g():
            with multiprocessing.get_context('fork').Pool(1) as pool:
                return pool.map(f, [1])
        """,
        "return 1",
        "return SLOW",
        call="m.g()",
        reason="starts another process",
    ),
    "spawned": Way(  # no audit event tells of it
        """
        import multiprocessing.util, sys
        def f():
            return 1
        def g():
            import os
            p = multiprocessing.util.spawnv_passfds(sys.executable.encode(), [b'python', b'-c', b''], [])
            os.waitpid(p, 0)
        """,
        "return 1",
        "return SLOW",
        call="m.g()",
        reason="starts another process",
    ),
    "signal": Way(
        """
        import signal
        def f(*a):
            return 1
        def g():
            signal.raise_signal(signal.SIGUSR1)
        """,
        "return 1",
        "return SLOW",
        setup="import signal; signal.signal(signal.SIGUSR1, m.f)",
        call="m.g()",
        reason="runs m.f",
    ),
    "of_c": Way(
        """
        import ctypes
        T = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
        def f(a, b):
            return 1
        HELD = T(f)
        def g():
            ctypes.CDLL(None).qsort((ctypes.c_int * 2)(1, 2), 2, 4, HELD)
        """,
        "return 1",
        "return SLOW and 1",
        call="m.g()",
        reason="runs m.f",
    ),
    "source_run": Way(
        """
        def f():
            return 1
        def g():
            scope = {'__file__': __file__}
            exec(open(__file__).read(), scope)
        """,
        "return 1",
        "return SLOW",
        call="m.g()",
        reason="reads thing/source_run.py",
    ),
    "compiled_read": Way(
        """
        def f():
            return 1
        def g():
            return len(open(__cached__, 'rb').read())
        """,
        "return 1",
        "return SLOW",
        call="m.g()",
        reason="reads thing/__pycache__/|FileNotFoundError",  # bytecode need not be kept
    ),
    "code_of_module": Way(
        """
        def f():
            return 1
        def g():
            return len(__loader__.get_code(__name__).co_consts)
        """,
        "return 1",
        "return SLOW",
        call="m.g()",
        reason="reads thing/",
    ),
    "line_of_file": Way(
        """
        import linecache
        def f():
            return 1
        def g():
            return linecache.getline(__file__, 3)
        """,
        "return 1",
        "return SLOW",
        call="m.g()",
        reason="reads thing/line_of_file.py",
    ),
    "reloaded": Way(
        """
        import importlib, sys
        def f():
            return 1
        def g():
            importlib.reload(sys.modules[__name__])
        """,
        "return 1",
        "return SLOW",
        call="m.g()",
        reason="imports thing.reloaded, which differs",
    ),
    "stack": Way(
        """
        import sys
        def f():
            return 1
        def g():
            return sys._getframe().f_lineno
        """,
        "    return 1",
        "    x = 1\n    return SLOW",
        call="m.g()",
        reason="can tell the lines",
    ),
    "text_of_a_frame": Way(
        """
        import sys
        def f():
            return 1
        def g():
            return repr(sys._getframe())
        """,
        "    return 1",
        "    x = 1\n    return SLOW",
        call="m.g()",
        reason="can tell the lines",
    ),
    "formatted_traceback": Way(
        """
        import traceback
        def f():
            return 1
        def g():
            try:
                1 / 0
            except ZeroDivisionError:
                return traceback.format_exc()
        """,
        "    return 1",
        "    x = 1\n    return SLOW",
        call="m.g()",
        reason="looks at the code|reads|lines",
    ),
    "standard_library_patched": Way(
        """
        import json
        def f(x):
            return 1
        def patch():
            json.dumps = f
        """,
        "return 1",
        "return SLOW",
        setup="m.patch()",
        call="import json; json.dumps(1)",
        reason="runs m.f|its process ends",  # the recorder writes JSON too
    ),
    "signature": Way(
        """
        import inspect
        def f(x):
            return 1
        HELD = f
        def g(x):
            return inspect.signature(x)
        """,
        "return 1",
        "return SLOW",
        call="m.g(m.HELD)",
    ),
    "never_started": Way(  # making a generator costs the same, whatever it does later
        """
        def f():
            yield 1
        HELD = f
        """,
        "yield 1",
        "yield SLOW",
        call="m.HELD()",
        reason="runs m.f|runs thing.never_started|",  # the size of its frame may differ
    ),
    "still_running": Way(  # in a thread, at the end of the cell
        """
        import threading, queue
        class C:
            def __init__(self):
                self.q, self.out = queue.Queue(), queue.Queue()
                threading.Thread(target=self.begin, daemon=True).start()
            def begin(self):
                self.serve()
            def serve(self):
                while True:
                    self.out.put(self.q.get())
        """,
        "self.out.put(self.q.get())",
        "self.out.put(self.q.get() + SLOW)",
        setup="self.c = m.C()",
        call="self.c.q.put(1); self.c.out.get()",
        reason="runs m.C.serve",
    ),
    "imported_again": Way(  # the size of its code is part of the time
        """
        def f():
            return 1
        """,
        "return 1",
        "return SLOW",
        call="import sys; sys.modules.pop(m.__name__); import thing.imported_again",
        reason="imports thing.imported_again, which differs",
    ),
}

LAZILY = ("VALUE = 1", f"VALUE = {SLOW}")


def own(name, text):
    """The text with names that no other module has, since who names a function that differs may call it."""
    return re.sub(r"\b([fghC])\b(?!')", rf"{name}_\1", text)


def cell(name, way):
    def block(text):
        return "".join(
            f"        {line}\n" for line in [f"from thing import {name} as m", *own(name, text).splitlines()]
        )

    return f"class {name}:\n    def setup(self):\n{block(way.setup)}    def time_call(self):\n{block(way.call)}"


@pytest.fixture(scope="module")
def found(module_sides):
    base = {"thing/__init__.py": "", "thing/lazily.py": LAZILY[0]}
    head = {"thing/__init__.py": "", "thing/lazily.py": LAZILY[1]}
    for name, way in WAYS.items():
        text, old, new = (own(name, one) for one in (dedent(way.base), way.old, way.new.replace("SLOW", SLOW)))
        assert not old or text.count(old) == 1, name
        base[f"thing/{name}.py"] = text
        head[f"thing/{name}.py"] = text.replace(old, new) if old else text
    sides = module_sides("\n".join(cell(name, way) for name, way in WAYS.items()), base, head)
    return reach(sides.subjects, sides.find(), lambda line: None)


@pytest.mark.parametrize("name", WAYS)
def test_a_cell_is_unaffected_only_if_the_change_cannot_reach_it(found, name):
    assert not found.everything
    possible = [own(name, one).replace("m.", f"thing.{name}.") for one in WAYS[name].reason.split("|")]
    reason = found.through.get(f"calls.{name}.time_call", "")
    assert any(one in reason if one else not reason for one in possible), reason
    assert (f"calls.{name}.time_call" in found.unaffected) == (not reason)
