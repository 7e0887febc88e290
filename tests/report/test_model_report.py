"""What `bench-core model` prints, in windows of any width, without colours, and with names that try to be more."""

import io
import re
from dataclasses import replace

import pytest
from hostile import commands
from made_models import CODE, WEIGHTS, gpt2, hostile
from rich.console import Console

from bench_core.analysis.model_advice import advice
from bench_core.analysis.models import ranked
from bench_core.cli.outlet import Terminal
from bench_core.records.model import RankTimes, Stage, Way
from bench_core.report.model import cut, definitions, initials, summary


def shown(record, width=120):
    found, out = ranked(record), io.StringIO()
    text = summary(record, found, advice(record, found), "bench-core show gpt2")
    Console(width=width, file=out).print(text, crop=False)
    return out.getvalue()


def row(text, name):
    (found,) = [line for line in text.splitlines() if re.match(rf"[*=x ]  {name} ", line)]
    return found


def bar(line):
    return re.search(r"  ([a-z]+)  +~?[\d.]+ [mµn]?s", line)[1]


def test_the_head_has_the_size_the_ties_and_what_no_checkpoint_holds():
    lines = shown(gpt2(), 140).splitlines()
    assert lines[:4] == [
        "gpt2 on cpu: 124,439,808 elements in 148 parameters, 475 MiB of float32.",
        "  largest: transformer.wte.weight, 147 MiB.",
        "  tied: transformer.wte.weight = lm_head.weight, which saves 147 MiB.",
        "  in no checkpoint: 12 of 12 buffers (transformer.h.0.attn.bias, transformer.h.1.attn.bias, "
        "transformer.h.2.attn.bias and 9 more).",
    ]


@pytest.mark.parametrize("width", [60, 80, 100, 140, 200])
def test_no_line_is_wider_than_the_window_but_code_and_commands(width):
    wide = [line for line in shown(gpt2(ranks=True), width).splitlines() if len(line) > width]
    assert all(line.strip() in CODE for line in wide)


@pytest.mark.parametrize("width", [80, 100, 140])
def test_bars_are_on_one_scale_and_as_long_as_their_times(width):
    text = shown(gpt2(), width)
    lengths = {name: len(bar(row(text, name))) for name in ("eager_copy", "meta_assign", "to_empty")}
    assert lengths["eager_copy"] >= 20
    assert lengths["meta_assign"] == pytest.approx(lengths["eager_copy"] * 0.337 / 2.19, abs=1)
    assert lengths["to_empty"] == pytest.approx(lengths["eager_copy"] * 1.46 / 2.19, abs=1)


def test_the_stages_of_a_bar_are_told_apart_without_colours():
    stages = bar(row(shown(gpt2(), 140), "eager_copy"))
    assert re.fullmatch("c+i+r+l+", stages)
    assert stages.count("i") == pytest.approx(len(stages) * 1.4 / 2.18, abs=1)


def test_the_fastest_ways_are_marked_and_a_wrong_one_is_named_with_its_reason():
    text = shown(gpt2())
    assert row(text, "meta_assign_mmap").startswith("=")
    assert row(text, "meta_assign_unfinished").startswith("x")
    assert "wrong" in row(text, "meta_assign_unfinished")
    assert "  x meta_assign_unfinished: 12 buffers stay on meta: transformer.h.0.attn.bias and others" in text
    assert row(text, "foreach").startswith("*")
    assert "  - lazy: the model has no lazy module" in text


def test_a_way_whose_ratio_is_not_known_has_no_mark_and_is_not_called_the_first():
    times = {"eager_copy": (3.0, 4.0), "fast": (0.1, 0.1), "noisy": (0.2, 90.0)}
    ways = tuple(Way("load", name, name, (Stage("load", seconds),), code="x = 1") for name, seconds in times.items())
    text = shown(replace(gpt2(), ways=ways, idioms=()))
    assert row(text, "fast").startswith("=")
    assert row(text, "noisy").startswith(" ")
    assert re.search(r" ~\d+x", row(text, "noisy"))
    assert "x = 1" not in text  # nothing is certain to be gained


def test_a_window_of_80_columns_breaks_no_name_of_a_way():
    long = "skip_draws_assign_safetensors"
    ways = tuple(replace(one, name=long) if one.name == "skip_draws_assign_mmap" else one for one in gpt2().ways)
    assert row(shown(replace(gpt2(), ways=ways), 80), long)


def test_lines_of_the_head_are_indented_where_they_go_on():
    text = shown(gpt2(), 60)
    head = text[: text.index("Load a checkpoint")].rstrip().split("\n")
    assert all(line.startswith("  ") for line in head[2:])


def test_a_share_of_the_limit_that_would_read_as_nothing_is_left_out():
    ways = tuple(
        replace(one, stages=tuple(replace(stage, bytes=stage.bytes and 1) for stage in one.stages))
        for one in gpt2().ways
    )
    assert "0.0 %" not in shown(replace(gpt2(), ways=ways), 140)


def test_a_narrow_window_says_which_figures_it_lacks_and_how_wide_they_are():
    text = shown(gpt2(), 80)
    wanted, left_out = re.search(r"A window of (\d+) columns also has (.*)\.", text).groups()
    assert left_out == "± and of limit"
    assert "also has" in shown(gpt2(), int(wanted) - 1)
    assert "also has" not in shown(gpt2(), int(wanted))


def test_a_time_that_is_extrapolated_is_marked_and_its_law_named():
    ways = tuple(replace(one, law="linear in bytes, from one block") for one in gpt2().ways)
    text = shown(replace(gpt2(), ways=ways))
    assert "~2.1" in row(text, "eager_copy")
    assert "linear in bytes, from one block" in text
    assert text.count("linear in bytes") == 2  # once for each job


def test_the_code_of_the_fastest_way_is_whole_and_what_it_needs_follows():
    text = shown(gpt2(), 60)
    for line in CODE.strip().split("\n"):
        assert f"    {line}" in text.splitlines()
    assert "needs: Tie again" in text
    assert "Load a checkpoint 18x (17 to 18) as fast as eager_copy: " in shown(gpt2())


def test_functions_that_the_code_defines_are_left_out_and_a_command_prints_them():
    code = "import torch\n\ndef tie(model):\n    pass\n\nmodel = build()\ntie(model)\n"
    ways = tuple(replace(one, code=code) for one in gpt2().ways)
    text = shown(replace(gpt2(), ways=ways))
    assert "    tie(model)" in text
    assert "def tie" not in text
    assert "The whole code, 7 lines" in text
    assert "    bench-core show gpt2 --code load" in text


@pytest.mark.parametrize(
    ("code", "lines"), [("x = 1", 0), ("def f(:", 0), ("class A:\n    x = 1\n\ny = 2", 2), ("\0", 0)]
)
def test_definitions_end_where_the_last_one_ends(code, lines):
    assert definitions(code) == lines


def test_nothing_is_to_be_copied_where_the_plain_way_is_the_fastest():
    plain, *_ = gpt2().ways
    assert "model = build()" not in shown(replace(gpt2(), ways=(plain,)))


def test_idioms_of_a_single_process_have_a_ratio_without_an_interval():
    whole = gpt2()
    once = replace(whole, idioms=tuple(replace(one, seconds=one.seconds[:1]) for one in whole.idioms))
    (line,) = [line for line in shown(once).splitlines() if line.strip().startswith("step ")]
    assert re.search(r"foreach ~2\.\d\dx, for_loop ~2\.\d\dx", line)


def test_the_jobs_have_a_line_each_with_the_fastest_idiom_and_the_others():
    text = shown(gpt2())
    (line,) = [line for line in text.splitlines() if line.strip().startswith("step ")]
    assert re.search(r"step +fused +1\d\d ms +foreach 2\.\d\dx, for_loop 2\.\d\dx", line)
    assert "x save (view): the file holds the whole storage, 147 MiB more" in text
    assert "- parametrized (cached): no parameter is parametrized" in text


def test_calls_of_ranks_have_the_spread_and_the_largest_peak():
    text = shown(gpt2(ranks=True))
    (line,) = [line for line in text.splitlines() if "sharded.full_state_dict" in line]
    assert re.search(r" 2 +8\d\d ms +±[\d.]+ % +\+[\d.]+ % +475 MiB", line)
    assert WEIGHTS // 2**20 == 474
    assert "- sharded.tied: torch 2.13.0 rejects a tied embedding across shards" in text


def test_a_call_of_ranks_is_shown_with_its_note_and_its_growth_that_is_projected():
    calls = [
        RankTimes("clip", "foreach", count, ((0.01 + 0.002 * count,) * count,) * 9, note=f"a note on {count} ranks")
        for count in (1, 2, 4)
    ]
    text = " ".join(shown(replace(gpt2(), ranks=tuple(calls)), 200).split())
    assert "- clip.foreach: a note on 4 ranks. 10 ms plus 2.0 ms per rank." in text
    assert "Projected by this law and not measured: 26 ms with 8 ranks." in text
    assert "a note on 2 ranks" not in text


def test_the_end_names_the_machine_the_rounds_and_its_limits():
    text = shown(gpt2(), 200)
    assert "On AMD EPYC, 2 cores, 24 GiB, Linux 6.18; Python 3.11, torch 2.13.0, safetensors 0.6.2." in text
    assert "Measured 2026-11-30 20:25 UTC in 83 s, 4 processes for each way." in text
    assert "this machine writes 9.8 GB/s, copies 21 GB/s (read and written)." in text
    assert ", interrupted, " in shown(replace(gpt2(), interrupted=True), 200)


def test_a_record_without_any_time_can_be_shown():
    missing = (Way("load", "eager_copy", "x", why_not="it was killed"),)
    text = shown(replace(gpt2(), ways=missing, idioms=(), write_limit=0.0, copy_limit=0.0, notes=()))
    assert "No way has a time." in text
    assert "- eager_copy: it was killed" in text


def test_letters_are_in_the_order_of_a_start_up_and_none_stands_for_two_stages():
    assert initials(["load", "construct", "read"]) == {"construct": "c", "read": "r", "load": "l"}
    assert initials(["lower", "load", "1"]) == {"load": "l", "lower": "o", "1": "a"}


def test_a_bar_has_the_columns_of_its_stages_and_at_least_one():
    stages = (Stage("construct", (1.0,)), Stage("read", (2.0,)), Stage("load", (1.0,)))
    assert [columns for _, columns in cut(stages, 4.0, 8.0, 40)] == [5, 10, 5]
    assert [(stage.name, columns) for stage, columns in cut(stages, 4.0, 4e6, 40)] == [("read", 1)]
    assert cut((Stage("read", (0.0,)),), 0.0, 1.0, 40) == []


def test_texts_of_others_are_text_and_nothing_else(capsys):
    record = hostile("\x1b[31m\n::error::[bold]x[/]\n##[error]boom\u202e")
    found = ranked(record)
    Terminal(width=100).print(summary(record, found, advice(record, found), "bench-core show x"), crop=False)
    text = capsys.readouterr().out
    assert commands(text) == []
    assert all(sign.isprintable() or sign == "\n" for sign in text)
    assert "[bold]x[/]" in text.replace("\n", "")
