from pathlib import Path

import pytest

from bench_core.errors import NothingSelectedError, TooOldError, UnknownNameError, inside, named, require_writable


def test_an_unknown_name_is_answered_with_the_near_misses_and_the_known_ones():
    text = str(UnknownNameError("device", "cdua", ["cpu", "cuda"]))
    assert text == "unknown device 'cdua'. Did you mean 'cuda', 'cpu'? Known: cpu, cuda."


def test_a_pattern_that_matches_nothing_is_answered_with_the_near_misses():
    text = str(
        NothingSelectedError("Shard.*cuda", ["tying.Shared.time_forward(cpu)", "state_dict.Read.time_get(cuda)"])
    )
    assert "Did you mean 'Shared' for 'Shard'?" in text
    assert "bench-core list" in text


def test_a_package_that_is_too_old_is_named_with_what_is_needed_and_how_to_get_it():
    text = str(TooOldError("torch", "2.3.0", "2.6"))
    assert text == "torch 2.3.0 is installed, but torch >= 2.6 is needed. Upgrade it with: pip install 'torch>=2.6'"


def test_two_commands_may_find_out_at_once_whether_a_folder_is_writable(tmp_path, monkeypatch):
    touch = Path.touch
    monkeypatch.setattr(Path, "touch", lambda path: (touch(path), path.unlink()))  # the other one removes it first
    require_writable(tmp_path)


def test_an_exception_of_several_lines_is_named_on_one():
    passed_on = RuntimeError("Subprocess failed: Traceback (most recent call last):\n  File 'x'\nImportError: no y\n")
    several = RuntimeError("Error(s) in loading:\n\tMissing key(s): a\n")
    assert named(passed_on) == "RuntimeError: ImportError: no y"
    assert named(several) == "RuntimeError: Error(s) in loading: Missing key(s): a"


class SpeechlessError(Exception):
    def __str__(self):
        raise ValueError


def test_an_exception_is_named_with_its_text_if_it_has_one():
    found = [named(error) for error in (KeyError("x"), MemoryError(), SpeechlessError())]
    assert found == ["KeyError: 'x'", "MemoryError", "SpeechlessError: (its text cannot be made)"]


def test_a_file_is_named_by_its_place_in_its_package(tmp_path):
    deep = tmp_path / "textkit" / "index"
    deep.mkdir(parents=True)
    for folder in (deep, deep.parent):
        (folder / "__init__.py").touch()
    assert inside(str(deep / "codes.py")) == "textkit/index/codes.py"
    assert inside(str(deep / "__init__.py")) == "textkit/index/__init__.py"
    assert inside(str(tmp_path / "codes.py")) == "codes.py"
    strange = ["<string>", "<frozen runpy>", "codes.py", f"/{'x' * 5000}/a.py", "/a\0/b.py"]
    assert [inside(name) for name in strange] == ["<string>", "<frozen runpy>", "codes.py", "a.py", "b.py"]


def test_a_file_that_is_no_python_is_named_by_its_place_in_its_package(tmp_path):
    (tmp_path / "textkit").mkdir()
    (tmp_path / "textkit" / "__init__.py").touch()
    file = tmp_path / "textkit" / "codes.py"
    with pytest.raises(SyntaxError) as found:
        compile("def f(:\n", str(file), "exec")
    assert named(found.value) == "SyntaxError: invalid syntax (textkit/codes.py, line 1)"
