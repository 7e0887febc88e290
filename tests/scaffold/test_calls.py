"""The call that the example times is one that the project's authors show, and changes nothing."""

import pytest

from bench_core.scaffold.calls import choose_call
from bench_core.scaffold.sources import Sources

WORK = "    found = [number * 2 + 1 for number in range(100) if number % 3 and number % 5 and number % 7]\n"
"""A line with enough code for a function not to be too small."""


@pytest.fixture
def chosen(tmp_path):
    """The call that is chosen for a package `thing` with these files beside and in it."""

    def choose(init, **files):
        folder = tmp_path / "thing"
        folder.mkdir()
        (folder / "__init__.py").write_text(init)
        for name, text in files.items():
            (tmp_path / "README.md" if name == "readme" else folder / f"{name}.py").write_text(text)
        return choose_call(Sources("thing", folder), tmp_path)

    return choose


def function(name, doc="", body=WORK, arguments="text", end="    return found\n"):
    return f'def {name}({arguments}):\n    """{doc}"""\n{body}{end}\n\n'


def shown(call):
    return (
        None
        if call is None
        else (*call.imports, *(f"{name} = {value}" for name, value in call.prepared), call.expression)
    )


def test_the_example_of_a_docstring_is_taken_with_what_it_prepares(chosen):
    lines = ("import math", "size = math.floor(3.5)", "text = 'a' * size", "count(text)")
    doc = "".join(f"\n    >>> {line}" for line in lines) + "\n    3\n    "
    call = chosen(function("count", doc))
    assert shown(call) == (
        "from thing import count",
        "import math",
        "size = math.floor(3.5)",
        'text = "a" * self.size',
        "count(self.text)",
    )
    assert (call.name, call.function, call.origin) == ("count", "thing.count", "an example in its docstring")


def test_a_function_is_imported_from_where_the_package_offers_it(chosen):
    part = function("count", "\n    >>> count('a')\n    1\n    ")
    assert shown(chosen("from .part import *\n", part=part)) == ("from thing import count", 'count("a")')


def test_of_documented_functions_the_one_with_the_most_code_is_taken(chosen):
    short = function("short", "\n    >>> short('a')\n    1\n    ")
    long = function("long", "\n    >>> long('a')\n    1\n    ", body=WORK * 2)
    assert chosen(short + long).name == "long"


def test_the_readme_shows_what_is_compiled(chosen):
    readme = "```pycon\n>>> import thing\n>>> thing.unknown(_)\n1\n>>> thing.pack([1, 2])\n'12'\n```\n"
    call = chosen("from ._fast import pack\n", readme=readme)
    assert (shown(call), call.origin) == (("import thing", "thing.pack([1, 2])"), "an example in README.md")


@pytest.mark.parametrize(
    "doc",
    [
        "\n    >>> count(open('file').read())\n    1\n    ",  # a file
        "\n    >>> count(unknown)\n    1\n    ",
        "\n    >>> import absent\n    >>> count(absent.text)\n    1\n    ",  # not known to be installed
        "\n    >>> count('a')  # doctest: +SKIP\n    1\n    ",
        "\n    >>> count(1)\n    Traceback (most recent call last):\n    TypeError\n    ",
        "\n    >>> count('a')\n    ",  # shows no result
        "\n    >>> text = text + 'a'\n    >>> count(text)\n    1\n    ",
        f"\n    >>> count('{'a' * 200}')\n    1\n    ",
    ],
)
def test_an_example_that_may_fail_is_not_taken(chosen, doc):
    assert chosen(function("count", doc)) is None


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("remove_all", {}),
        ("_count", {}),
        ("count", {"body": WORK + "    os.remove(text)\n"}),
        ("count", {"body": WORK + "    open(text)\n"}),
        ("count", {"end": "    yield found\n"}),  # a call of it runs nothing
        ("count", {"end": "    pass\n"}),
    ],
)
def test_a_function_that_may_change_something_is_not_called(chosen, name, options):
    doc = f"\n    >>> {name}('a')\n    1\n    "
    assert chosen("import os\n" + function(name, doc, **options)) is None


def test_a_decorated_function_is_not_called(chosen):
    assert chosen("@cache\n" + function("count", arguments="")) is None


@pytest.mark.parametrize(
    ("arguments", "called"),
    [
        ("", "count()"),
        ("text='a'", "count()"),
        ("size: int, share: 'float' = 1.0", "count(1000)"),
        ("texts: typing.Sequence[str], /", 'count("the quick brown fox jumps over the lazy dog".split())'),
    ],
)
def test_without_an_example_arguments_of_simple_types_are_made_up(chosen, arguments, called):
    assert shown(chosen(function("count", arguments=arguments))) == ("from thing import count", called)


@pytest.mark.parametrize(
    ("arguments", "body"),
    [("text", WORK), ("stream: IO", WORK), ("*, key", WORK), ("text: str", WORK + "    raise ValueError\n")],
)
def test_no_argument_is_made_up_that_may_be_refused(chosen, arguments, body):
    assert chosen(function("count", arguments=arguments, body=body)) is None


def test_modules_that_import_each_other_or_do_not_parse_are_no_trouble(chosen):
    part = "from . import *\nfrom .broken import other\n" + function("count", "\n    >>> count('a')\n    1\n    ")
    call = chosen("from .part import *\nfrom ..above import x\n", part=part, broken="def (")
    assert call is not None
    assert call.function == "thing.count"
