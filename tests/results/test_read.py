import json
import math

import pytest

from bench_core.errors import BenchCoreError
from bench_core.results.read import read

DECLARED = [
    {
        "name": "initialization.InPlace.time_initialize",
        "param_names": ["device", "size", "dtype"],
        "type": "time",
        "version": "v",
        "unit": "seconds",
        "weight_reads": 1,
        "weight_writes": 1,
    },
    {"name": "tying.Deep.track_norm", "version": "v", "param_names": [], "type": "track", "unit": "log10 ratio"},
]
COLUMNS = ["result", "params", "version", "stats_ci_99_a", "stats_ci_99_b", "stats_number", "stats_repeat"]


def written(tmp_path, results, **changes):
    content = {
        "version": 2,
        "commit_hash": "f" * 40,
        "params": {"machine": "m"},
        "result_columns": COLUMNS,
        "results": results,
    }
    path = tmp_path / "ffffffff-env.json"
    path.write_text(json.dumps({**content, **changes}))
    return path


def in_place(values, lows=None, highs=None):
    params = [["cpu"], ["8x4", "64x64"], ["float32", "bfloat16"]]
    return {"initialization.InPlace.time_initialize": [values, params, "v", lows, highs, [10] * 4, [5] * 4]}


def test_cells_that_are_not_applicable_or_were_not_selected_are_no_results_and_failed_ones_are_named(tmp_path):
    found = read(written(tmp_path, in_place([1e-6, None, math.nan, 2e-6])), DECLARED)
    assert [cell.name for cell in found.cells] == [
        "initialization.InPlace.time_initialize(cpu, 8x4, float32)",
        "initialization.InPlace.time_initialize(cpu, 64x64, bfloat16)",
    ]
    assert found.failed == ("initialization.InPlace.time_initialize(cpu, 8x4, bfloat16)",)


def test_bandwidth_counts_every_declared_pass_in_the_cells_dtype(tmp_path):
    found = read(written(tmp_path, in_place([1e-6] * 4)), DECLARED)
    by_params = {tuple(cell.params.values())[1:]: cell for cell in found.cells}
    assert by_params["64x64", "float32"].moved_bytes == 2 * 4096 * 4
    assert by_params["64x64", "bfloat16"].bandwidth == pytest.approx(2 * 4096 * 2 / 1e-6)


@pytest.mark.parametrize("params", [["cpu", "8x4", "float8_e5m2"], ["cpu", "small", "float32"]], ids=["dtype", "size"])
def test_a_dtype_or_a_size_that_is_not_known_moves_bytes_that_are_not_known(tmp_path, params):
    row = [[1e-6], [[value] for value in params], "v"]
    (found,) = read(written(tmp_path, {DECLARED[0]["name"]: row}), DECLARED).cells
    assert (found.moved_bytes, found.bandwidth) == (None, None)


def test_what_is_described_of_the_machine_and_its_environment_is_text(tmp_path):
    described = {"machine": 7, "num_cpu": 2, "torch": 2.13, "ram": None}
    found = read(written(tmp_path, in_place([1e-6] * 4), params=described, env_vars={"THREADS": 2}), DECLARED)
    assert found.machine == {"machine": "7", "num_cpu": "2", "torch": "2.13", "env-THREADS": "2"}


@pytest.mark.parametrize("end", [math.nan, math.inf, -math.inf])
def test_an_interval_that_asv_could_not_give_stays_open(tmp_path, end):
    found = read(written(tmp_path, in_place([1e-6] * 4, [None] * 4, [end] * 4)), DECLARED)
    assert (found.cells[0].value.low, found.cells[0].value.high) == (-math.inf, math.inf)


def test_a_benchmark_without_any_value_is_listed_as_failed(tmp_path):
    found = read(written(tmp_path, {"tying.Deep.track_norm": [None, [], "v"]}), DECLARED)
    assert (found.cells, found.failed) == ((), ("tying.Deep.track_norm",))


def test_a_value_without_parameters_is_read(tmp_path):
    found = read(written(tmp_path, {"tying.Deep.track_norm": [[-3.5], [], "v"]}), DECLARED)
    assert [(cell.name, cell.value.middle) for cell in found.cells] == [("tying.Deep.track_norm", -3.5)]


def test_a_result_of_a_benchmark_that_has_changed_since_is_left_out_and_named(tmp_path):
    old = {name: [*row[:2], "older", *row[3:]] for name, row in in_place([1e-6] * 4).items()}
    found = read(written(tmp_path, old), DECLARED)
    assert (found.cells, found.outdated) == ((), ("initialization.InPlace.time_initialize",))


@pytest.mark.parametrize(
    ("declared", "drawn"), [({}, None), ({"weight_draws": 2}, 64), ({"weight_draws": {"8x4": 1, "9x9": 3}}, 32)]
)
def test_random_numbers_are_declared_for_all_cells_or_by_the_value_of_a_parameter(tmp_path, declared, drawn):
    found = read(written(tmp_path, in_place([1e-6] * 4)), [{**DECLARED[0], **declared}])
    assert found.cells[0].drawn == drawn


def test_a_value_that_draws_nothing_has_no_random_numbers(tmp_path):
    found = read(written(tmp_path, in_place([1e-6] * 4)), [{**DECLARED[0], "weight_draws": {"9x9": 1}}])
    assert found.cells[0].drawn is None


@pytest.mark.parametrize(
    ("version", "mend"),
    [(3, "upgrade bench_core"), (1, "`asv update` brings it up to date"), (None, "it has no version")],
)
def test_another_version_of_asvs_format_is_one_clear_error(tmp_path, version, mend):
    with pytest.raises(BenchCoreError, match=mend):
        read(written(tmp_path, in_place([1e-6] * 4), version=version), DECLARED)


def test_declarations_in_another_version_of_asvs_format_are_one_clear_error(tmp_path):
    path = written(tmp_path, in_place([1e-6] * 4))
    (tmp_path / "benchmarks.json").write_text(json.dumps({"version": 3}))
    with pytest.raises(BenchCoreError, match="benchmarks.json is in version 3 of asv's format"):
        read(path)


def test_the_declarations_stand_beside_the_results_of_a_run_without_a_commit(tmp_path):
    path = written(tmp_path, in_place([1e-6] * 4))
    (tmp_path / "benchmarks.json").write_text(json.dumps({"version": 2, DECLARED[0]["name"]: DECLARED[0]}))
    assert len(read(path).cells) == 4


def test_a_benchmark_that_the_suite_no_longer_has_is_left_out(tmp_path):
    assert read(written(tmp_path, {"gone.Old.time_it": [[1.0], [], "v"]}), DECLARED).cells == ()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("{", "is not JSON"), ("[]", "no object"), ('{"results": {}}', "not a result file that asv 0.6 writes")],
)
def test_a_file_that_asv_did_not_write_is_one_clear_error(tmp_path, text, complaint):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(BenchCoreError, match=complaint):
        read(path, DECLARED)


def test_a_missing_file_says_how_to_get_one(tmp_path):
    with pytest.raises(BenchCoreError, match="`bench-core run` writes results"):
        read(tmp_path / "none.json", DECLARED)
