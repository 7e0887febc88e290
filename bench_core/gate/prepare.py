"""Prepares a gate: builds the versions, finds their cells, and loads the settings and the evidence so far."""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path

import bench_core
from bench_core import clock, cores, units
from bench_core.asv_config import AsvConfig, enter
from bench_core.codec import to_json
from bench_core.doctor.linux import KernelFiles
from bench_core.errors import BenchCoreError
from bench_core.gate.judge.rule import pairs_needed, sharing
from bench_core.gate.measure.discover import Found, find_cells
from bench_core.gate.measure.evidence import Journal, keep_newest_evidence
from bench_core.gate.measure.schedule import PAST_SHARE
from bench_core.gate.reach.reach import Reach, can_record, reach
from bench_core.gate.versions import stranger
from bench_core.gate.versions.environment import handed_on, named_in
from bench_core.gate.versions.project import Project, read_project, settings_of
from bench_core.gate.versions.revisions import Revision, benchmarks_digest, resolve, uncommitted
from bench_core.gate.versions.store import VersionStore
from bench_core.gate.versions.subjects import Importable, Subjects
from bench_core.gate.versions.surroundings import surroundings
from bench_core.gate.versions.versus import Environments, are_releases, environments
from bench_core.gate.why.instructions import require_valgrind
from bench_core.records.gate import SIDES, TIMED, Asked, GateSettings
from bench_core.records.model import VARIABLE, ModelSpec
from bench_core.records.version import Commit, Version, WorkingTree
from bench_core.workers.worker import PROTOCOL

LEAST_BUDGET = 75.0
"""The default budget in seconds for up to `SMALL_SUITE` cells: what they need on two lanes beside a busy core. A gate
ends as soon as all cells are decided."""

SMALL_SUITE = 40
"""The number of cells that `LEAST_BUDGET` suffices for."""

BUDGET_OF_A_CELL = 1.0
"""Seconds that the default budget grows by for each cell beyond `SMALL_SUITE`."""

BUILDS_OF_A_PAIR = 8
"""About so often a pair of a timed cell builds the model that it works on, on both sides together. Only for large
models does this take most of the time."""

MOST_LANES = 2
"""The default number of lanes, if there are as many cores. The accuracy with more lanes has not been measured."""

MODEL_CELLS = Path(bench_core.__file__).parent / "model_cells"
"""The benchmark folder of a gate on a model."""

NEEDED_BY_MODELS = ("torch", "numpy", "safetensors")
"""The packages that these benchmarks need."""

SELF_TEST_CELLS = 12
"""The largest number of cells in a self-test. Every second one is slowed down."""


@dataclass(frozen=True)
class Choices:
    """The settings that a person can choose; see `GateSettings`. None means a default that depends on what is
    measured."""

    noise_floor: float = GateSettings.noise_floor
    limit: float = GateSettings.limit
    error_rate: float = GateSettings.error_rate
    pass_error: float = GateSettings.pass_error
    seed: int | None = None
    budget: float | None = None
    lanes: int | None = None
    start: str = GateSettings.start


@dataclass(frozen=True)
class Request:
    """A gate that a person asks for.

    Attributes:
        config: the ``asv.conf.json``.
        base, head: names of revisions; None for the working tree.
        pattern: the regular expression that selects cells, as in `asv run --bench`; None for all.
        quick: whether to measure only the quick profile.
        everything: whether to measure also what the change cannot reach, even if both versions are identical.
        fresh: whether to discard the evidence of earlier gates on the two versions.
        resume: whether to refuse to begin without evidence of an earlier gate.
        timeout: treat a worker as hung after this many seconds without a sign of life; None for what the suite allows
            for each cell.
        plant: the slowdown that a self-test adds to half of its cells on head; 0 for a gate.
        suite: the revision that the benchmarks are taken from; None for head.
        instructions: whether instructions will be counted, which needs valgrind.
        versus: two installs or two interpreters to compare instead of two revisions. `base` is then the code on both
            sides, and `head` is not used.
        past: an older revision that head is also compared with, or None.
        written: files that the gate will write, see `Project.written`.
        handed_on: names of environment variables that the versions get besides those that they get anyway.
        isolated: whether head may be a stranger's: see `bench_core.gate.versions.stranger`.
        model: a model that our own benchmarks of a model (`MODEL_CELLS`) work on, instead of the project's benchmarks;
            or None.
    """

    config: Path
    base: str | None
    head: str | None = None
    pattern: str | None = None
    quick: bool = False
    settings: Choices = field(default_factory=Choices)
    everything: bool = False
    fresh: bool = False
    resume: bool = False
    timeout: float | None = None
    plant: float = 0.0
    suite: str | None = None
    instructions: bool = False
    versus: tuple[str, str] | None = None
    past: str | None = None
    written: tuple[Path, ...] = ()
    handed_on: tuple[str, ...] = ()
    isolated: bool = False
    model: ModelSpec | None = None

    @property
    def asked(self) -> Asked:
        """What a command must ask for to measure the same again, besides the settings."""
        return Asked(self.isolated, self.everything, self.handed_on, self.timeout, self.settings.lanes)


@dataclass(frozen=True)
class Work:
    """What a gate measures.

    Attributes:
        subjects: the versions as workers import them.
        found: their cells.
        plants: the slowdown that a self-test adds, by cell; empty for a gate.
        cores: a core for each lane; None where processes cannot be pinned.
        journal: the evidence on base and head.
        past_journal: the evidence on past and head; None without a past version.
        untouched: raises BenchCoreError if something else has changed the versions, the benchmarks or the evidence.
    """

    subjects: Subjects
    found: Found
    plants: Mapping[str, float]
    cores: tuple[int | None, ...]
    journal: Journal
    past_journal: Journal | None
    untouched: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Prepared:
    """A gate that is ready to run.

    Attributes:
        machine: asv's description of this machine.
        base, head: the versions that are compared.
        settings: the settings, with the defaults filled in.
        began: the host clock's time when preparation began.
        date: the same time as ISO 8601, UTC.
        code: the project on both sides, if two installs or interpreters are compared; else None.
        past: the older version that head is also compared with, or None.
        besides: packages that differ between the two sides although they were not asked for.
        notes: how this environment differs from those of the configuration.
        identical: why base and head are identical; "" if they differ.
        reach: what the change reaches; None if everything is measured anyway.
        left_out: the reasons why cells could not be compared, if nothing will be measured.
        model: the model that the benchmarks work on, with base's ties; None if they are the project's own.
        work: what to measure; None if the versions are identical, or the change reaches no cell.
    """

    request: Request
    project: Project
    machine: Mapping[str, str]
    base: Version
    head: Version
    settings: GateSettings
    began: float
    date: str
    code: Version | None = None
    past: Version | None = None
    besides: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    identical: str = ""
    reach: Reach | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)
    model: ModelSpec | None = None
    work: Work | None = None


def prepare(request: Request, machine: Mapping[str, str], say: Callable[[str], None]) -> Prepared:
    """Build the versions, and find out which cells can be compared.

    Args:
        machine: asv's description of this machine.
        say: takes a line on each step.

    Raises:
        BenchCoreError: if a version is not found or cannot be built, or there is nothing to compare.
    """
    began, date = clock.host(), datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    if request.instructions:
        require_valgrind()
    suite = request.model is None
    named = settings_of(request.config, suite=suite)
    releases = request.versus is not None and are_releases(named.project, request.versus)
    project = read_project(request.config, request.written, releases=releases, suite=suite)
    notes = _entered(project, request, named, say)
    built = _built(project, request, named, say, releases=releases)
    prepared = Prepared(
        request=request,
        project=project,
        machine=machine,
        base=built.sides.base.version,
        head=built.sides.head.version,
        settings=_chosen(request),
        began=began,
        date=date,
        code=None if built.code is None else built.code.version,
        past=None if built.past is None else built.past.version,
        besides=built.sides.besides,
        notes=notes,
        identical=_identical(request, built),
        model=request.model,
    )
    if prepared.identical and not request.everything:
        if built.past is None:
            return prepared
        say(f"note: {prepared.identical}; measured anyway, since {built.past.name} differs")
    return _with_cells(prepared, built, say)


def _entered(project: Project, request: Request, named: AsvConfig, say: Callable[[str], None]) -> tuple[str, ...]:
    """Let the configuration take effect in this process.

    Returns:
        How this environment differs from those of the configuration, and what is not blocked here.
    """
    # Checked before anything of the configuration takes effect, which may be a stranger's.
    unblocked = stranger.checked(project, resolve(project, request.base)) if request.isolated else ()
    notes = (*enter(named), *cores.notes(), *unblocked)
    for note in notes:
        say(f"note: {note}")
    return notes


@dataclass(frozen=True)
class _Built:
    """The versions of a gate.

    Attributes:
        store: where they are.
        environment: the environment variables that they get.
        sides: base and head.
        code: the project on both sides, if two installs or interpreters are compared; else None.
        past: the older version that head is also compared with, or None.
        trusted: the revision of base, or of the code on both sides.
        newest: the revision of head, or of the code on both sides.
    """

    store: VersionStore
    environment: Mapping[str, str]
    sides: Environments
    code: Importable | None
    past: Importable | None
    trusted: Revision
    newest: Revision


def _built(
    project: Project, request: Request, named: AsvConfig, say: Callable[[str], None], *, releases: bool
) -> _Built:
    """Build the versions. If `releases` of the project are compared, its code is not built."""
    revisions = _revisions(project, request, say)
    trusted, newest = list(revisions.values())[0 if request.past is None else 1], list(revisions.values())[-1]
    environment = _environment(project, request, named, trusted, newest, say)
    folder = project.env_dir / stranger.FOLDER if request.isolated else None
    store = VersionStore(project, folder, environment=environment, confined=request.isolated)
    # Whatever it is compared on, a model that is not the project's own needs nothing of the project.
    alone = releases or (request.versus is not None and request.model is not None and ":" not in request.model.target)
    built = map(store.unbuilt, revisions.values()) if alone else store.versions(revisions.values())
    made = dict(zip(revisions, built, strict=True))
    past = _past(made, say)
    if request.versus is None:
        sides = Environments(made["base"], made["head"], ())
    else:
        sides = environments(store, request.versus, say, () if request.model is None else NEEDED_BY_MODELS)
    return _Built(store, environment, sides, made.get("code"), past, trusted, newest)


def _with_cells(prepared: Prepared, built: _Built, say: Callable[[str], None]) -> Prepared:
    """Find the cells, leave out those that the change cannot reach, and add what to measure.

    Raises:
        BenchCoreError: if no cell can be compared.
    """
    request, sides, store = prepared.request, built.sides, built.store
    place, benchmarks = _benchmarks(prepared, built, say)
    subjects = Subjects(sides.base, sides.head, place, built.code, built.past, built.environment)
    if request.isolated:
        subjects = replace(subjects, readable=(store.home(place), *_checkpoints(request.model)))
    if request.model is not None:
        subjects = _naming(subjects, request.model)
    try:
        found = _found(prepared, subjects, sides.compared, say)
    finally:
        store.seal.check()  # first, since it explains whatever else went wrong
    if request.model is not None and found.layout is not None:
        model = replace(request.model, ties=found.layout.ties)
        prepared, subjects = replace(prepared, model=model), _naming(subjects, model)
    if found.cells and not request.everything and built.code is None and built.past is None:
        reached = reach(subjects, found, say)
        prepared = replace(prepared, reach=reached)
        found = replace(found, cells=tuple(cell for cell in found.cells if cell.name not in reached.unaffected))
        if reached.unaffected and not found.cells and not found.failed:
            return replace(prepared, left_out=found.left_out)
    return _with_work(prepared, store, benchmarks, subjects, found)


def _benchmarks(prepared: Prepared, built: _Built, say: Callable[[str], None]) -> tuple[Path, str]:
    """The folder of the benchmarks, and their digest."""
    request, store = prepared.request, built.store
    if request.isolated:
        whose = "our own benchmarks" if request.model else f"the benchmarks of {built.trusted.name}"
        say(f"note: isolated: both sides run {whose}, and versions are confined")
    if request.model is not None:
        place = store.packaged(MODEL_CELLS)
        return place, store.home(place).name
    if request.isolated:
        suite = built.trusted
    else:
        suite = built.newest if request.suite is None else resolve(prepared.project, request.suite)
    return store.suite(suite), benchmarks_digest(prepared.project, suite)


def _naming(subjects: Subjects, model: ModelSpec) -> Subjects:
    """The same, with the variable by which benchmarks find their model."""
    return replace(subjects, environment={**(subjects.environment or {}), VARIABLE: json.dumps(to_json(model))})


def _checkpoints(model: ModelSpec | None) -> tuple[Path, ...]:
    """The file of a model that is one."""
    return (Path(model.target),) if model is not None and Path(model.target).is_file() else ()


def _with_work(prepared: Prepared, store: VersionStore, benchmarks: str, subjects: Subjects, found: Found) -> Prepared:
    """Fill in the settings, and add what to measure. `benchmarks` is the digest of the benchmarks."""
    request = prepared.request
    cores = cores_of(request.settings.lanes)
    seed = request.settings.seed or random.SystemRandom().randrange(1, 2**31)
    found, plants = _planted(found, request.plant, seed) if request.plant else (found, {})
    settings = replace(prepared.settings, seed=seed, lanes=len(cores))
    prepared = replace(prepared, settings=_filled(settings, found, spawned=prepared.code is not None))
    journals = _journals(prepared, store, subjects, benchmarks)

    def untouched() -> None:
        store.seal.check()
        for journal in journals:
            if journal is not None:
                journal.check()

    return replace(prepared, work=Work(subjects, found, plants, cores, *journals, untouched))


def _revisions(project: Project, request: Request, say: Callable[[str], None]) -> dict[str, Revision]:
    """The revisions to build: past (if asked for), then base and head, or code. The newest is last."""
    asked = {"base": request.base, "head": request.head} if request.versus is None else {"code": request.base}
    if request.past is not None:
        asked = {"past": request.past, **asked}
    found = {part: resolve(project, name) for part, name in asked.items()}
    for part, revision in found.items():
        say(f"{part}: {revision}{_changes(revision.changed)}")
    part, newest = list(found.items())[-1]
    if asked[part] is not None and (changed := uncommitted(project)):
        say(f"note: {newest.name} is a commit, so uncommitted changes are not measured{_changes(changed)}")
    return found


def _environment(
    project: Project,
    request: Request,
    named: AsvConfig,
    trusted: Revision,
    newest: Revision,
    say: Callable[[str], None],
) -> dict[str, str]:
    """The environment variables that the versions get. Those that only the newest revision names are left out."""
    also = {*request.handed_on, *named.variables}
    found = handed_on(os.environ, project, trusted, also)
    if wanted := sorted(named_in(project, newest, set(os.environ) - set(found))):
        say(
            f"note: {', '.join(wanted)} stays out of the versions' environment, although {newest.name} names it "
            "(--env NAME hands a variable on)"
        )
    return found


def _changes(changed: tuple[str, ...]) -> str:
    if not changed:
        return ""
    more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
    return f", {units.plural(len(changed), 'file')} changed: {', '.join(changed[:3])}{more}"


def _past(made: Mapping[str, Importable], say: Callable[[str], None]) -> Importable | None:
    """The past version; None if it was not asked for, or has the same content as base or head."""
    past = made.get("past")
    for side in SIDES:
        if past is not None and made[side].version.digest == past.version.digest:
            say(f"note: {past.name} has the same content as {side}, so no slowdown can have crept in since")
            return None
    return past


def _identical(request: Request, built: _Built) -> str:
    """Why there is nothing to measure; "" if there is. If head changes the benchmarks alone, there is nothing to
    compare either, but where that is possible, each of them is run once, so that one that fails is named."""
    base, head = built.sides.base.version, built.sides.head.version
    if base.digest != head.digest:
        return ""
    if built.code is not None:
        return f"{base.name} and {head.name} are one and the same (--all measures anyway)"
    if request.model is not None:
        return "package and build configuration are identical (--all measures anyway)"
    match base, head:
        case Commit() | WorkingTree(), Commit() | WorkingTree() if base.benchmarks != head.benchmarks:
            if can_record() and not request.isolated and request.suite is None:
                return ""
            whose = built.trusted.name if request.isolated else request.suite or head.name
            return (
                f"the packages are identical. The benchmarks differ, but both sides run those of {whose}, so there is "
                "nothing to compare (--all measures anyway)"
            )
    return "package, benchmarks and build configuration are identical (--all measures anyway)"


def _found(prepared: Prepared, subjects: Subjects, compared: frozenset[str], say: Callable[[str], None]) -> Found:
    """Find the cells. For `compared` see `Environments`.

    Raises:
        BenchCoreError: if none can be compared.
    """
    request = prepared.request
    found = find_cells(
        subjects,
        request.pattern,
        quick=request.quick,
        timeout=prepared.project.timeout,
        explain=settings_of(request.config, suite=request.model is None).explain,
        model=request.model,
    )
    if compared and not compared & found.imported:
        say(
            f"note: the benchmark modules do not import {', '.join(sorted(compared))}. A cell that does not import it "
            "later is the same on both sides"
        )
    if not found.cells and not found.failed:
        reasons = "; ".join(sorted(set(found.left_out.values()))[:3])
        raise BenchCoreError(f"none of the {len(found.left_out)} cells can be compared here: {reasons}.")
    return found


def _chosen(request: Request) -> GateSettings:
    """The settings as asked for. Seed, budget and lanes are 0 unless they were given."""
    asked = request.settings
    return GateSettings(
        noise_floor=asked.noise_floor,
        limit=asked.limit,
        error_rate=asked.error_rate,
        pass_error=asked.pass_error,
        seed=asked.seed or 0,
        budget=asked.budget or 0.0,
        lanes=asked.lanes or 0,
        pattern=request.pattern,
        profile="quick" if request.quick else "full",
        start=asked.start,
    )


def _filled(settings: GateSettings, found: Found, *, spawned: bool) -> GateSettings:
    """The settings with the defaults filled in. `settings` are as asked for, with seed and lanes. If `spawned`, workers
    must be spawned, whatever was asked for."""
    family = sharing((*found.cells, *found.failed))
    budget = LEAST_BUDGET + BUDGET_OF_A_CELL * max(0, len(found.cells) - SMALL_SUITE)
    if found.building:
        timed = sum(cell.kind in TIMED for cell in found.cells)
        builds = BUILDS_OF_A_PAIR * timed * pairs_needed(family, settings)
        budget += found.building * builds / max(1, settings.lanes)
    if found.past is not None:
        budget *= 1 + 1 / PAST_SHARE
        settings = replace(settings, error_rate=settings.error_rate / 2)
    start = "spawn" if spawned or found.on_accelerator else settings.start
    if start == "spawn":
        # Each pair and each control imports everything anew, twice on one core. Half of the pairs may come too late.
        budget += 2 * 4 * found.starting * pairs_needed(family, settings) / settings.lanes
    return replace(settings, budget=settings.budget or math.ceil(budget), start=start, family=family)


def cores_of(lanes: int | None) -> tuple[int | None, ...]:
    """One core for each lane; None where processes cannot be pinned.

    Raises:
        BenchCoreError: if there are fewer cores than lanes, or if a control group grants fewer.
    """
    if not cores.CAN_PIN:
        return (None,) * (lanes or 1)
    usable = cores.usable()
    if lanes is not None and lanes > len(usable):
        raise BenchCoreError(f"--lanes {lanes}: a lane needs a core of its own, and there are {len(usable)} here.")
    granted = quota()
    if granted is not None and lanes is not None and lanes > max(1.0, granted):
        raise BenchCoreError(
            f"--lanes {lanes}: a lane needs a core of its own, and the control group of this process is granted "
            f"{granted:g} of {len(usable)}."
        )
    most = MOST_LANES if granted is None else min(MOST_LANES, max(1, int(granted)))
    return usable[: lanes or most]


def quota() -> float | None:
    """The cores that this process's control groups are granted; None without a limit."""
    found = KernelFiles(Path("/")).quota()
    return None if found is None else found.cores


def _planted(found: Found, plant: float, seed: int) -> tuple[Found, Mapping[str, float]]:
    """The cells of a self-test, drawn at random, and the slowdown of every second one."""
    timed = [cell for cell in found.cells if cell.kind == "time"]
    chosen = random.Random(seed).sample(timed, min(SELF_TEST_CELLS, len(timed)))
    return replace(found, cells=tuple(chosen)), {cell.name: plant for cell in chosen[::2]}


def _journals(
    prepared: Prepared, store: VersionStore, subjects: Subjects, benchmarks: str
) -> tuple[Journal, Journal | None]:
    """The evidence on base and head, and the evidence on past and head.

    Raises:
        BenchCoreError: if an earlier gate should be resumed and there is none.
    """
    folder, key = store.folder / "evidence", _evidence_key(prepared, subjects, benchmarks)
    journal = Journal(folder / f"{key}.jsonl")
    keep_newest_evidence(folder, besides=key)
    if prepared.request.resume and not journal.path.exists():
        raise BenchCoreError("there is nothing to resume: no gate on these two versions was begun here. Omit --resume.")
    if prepared.past is None:
        return journal, None
    # A separate journal, not that of a gate on past and head alone, which has other controls.
    return journal, Journal(folder / f"{key}-{prepared.past.digest[:16]}.jsonl")


def _sources(subjects: Subjects) -> list[Path]:
    """The packages of the versions of a project. Those of an install or an interpreter are not searched for variables:
    a release of torch has 10,000 files, and the variables of libraries count anyway."""
    found = [*subjects.named.values(), *([subjects.code] if subjects.code else [])]
    ours = [one for one in found if isinstance(one.version, Commit | WorkingTree)]
    return [Path(one.path, name) for one in ours for name in one.packages]


def _evidence_key(prepared: Prepared, subjects: Subjects, benchmarks: str) -> str:
    """A name for evidence on the same content, measured in the same way, on the same machine and surroundings."""
    settings = prepared.settings
    parts = [
        prepared.base.digest,
        prepared.head.digest,
        prepared.code and prepared.code.digest,
        benchmarks,
        str(prepared.project.suite) if prepared.model is None else to_json(prepared.model),
        PROTOCOL,
        settings.start,
        prepared.request.plant and settings.seed,  # slowed-down cells are no evidence on the versions
        # Without the host name, which differs for every job of a CI service.
        sorted((name, value) for name, value in prepared.machine.items() if name != "machine"),
        surroundings([subjects.suite, *_sources(subjects)], prepared.project.root, environment=subjects.environment),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
