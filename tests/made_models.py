"""Records of models made by hand, with figures as a machine with two cores reads them."""

import random
from dataclasses import replace

from bench_core.records.model import Idiom, ModelLayout, ModelRecord, ModelSpec, RankTimes, Stage, Way

MIB = 2**20
WEIGHTS = 497_759_232

LAYOUT = ModelLayout(
    modules=164,
    parameters=148,
    elements=124_439_808,
    bytes=WEIGHTS,
    buffers=12,
    buffer_bytes=12 * MIB,
    largest="transformer.wte.weight",
    largest_bytes=154_389_504,
    dtypes={"float32": 124_439_808},
    non_persistent=tuple(f"transformer.h.{number}.attn.bias" for number in range(12)),
    ties=(("transformer.wte.weight", "lm_head.weight"),),
    tied_bytes=154_389_504,
)

STAGES = {
    "eager_copy": {
        "construct": (0.35, 0),
        "initialize": (1.4, WEIGHTS),
        "read": (0.31, 2 * WEIGHTS),
        "load": (0.12, 2 * WEIGHTS),
    },
    "eager_safetensors_copy": {
        "construct": (0.35, 0),
        "initialize": (1.4, WEIGHTS),
        "read": (0.02, 0),
        "load": (0.2, 2 * WEIGHTS),
    },
    "meta_to_empty_copy": {
        "construct": (0.02, 0),
        "read": (0.31, 2 * WEIGHTS),
        "load": (0.28, 2 * WEIGHTS),
        "finish": (0.004, 0),
    },
    "skip_draws_copy": {"construct": (0.06, 0), "read": (0.31, 2 * WEIGHTS), "load": (0.28, 2 * WEIGHTS)},
    "skip_draws_assign_mmap": {"construct": (0.06, 0), "read": (0.01, 0), "load": (0.09, WEIGHTS)},
    "meta_assign": {"construct": (0.02, 0), "read": (0.31, 2 * WEIGHTS), "load": (0.003, 0), "finish": (0.004, 0)},
    "meta_assign_mmap": {"construct": (0.02, 0), "read": (0.01, 0), "load": (0.09, WEIGHTS), "finish": (0.004, 0)},
    "meta_assign_safetensors": {
        "construct": (0.02, 0),
        "read": (0.01, 0),
        "load": (0.091, WEIGHTS),
        "finish": (0.004, 0),
    },
    "meta_assign_unfinished": {"construct": (0.02, 0), "read": (0.01, 0), "load": (0.08, WEIGHTS)},
}
"""The stages of ways to load, each with its seconds and its bytes."""

INITIALIZE = {
    "eager": {"construct": (0.35, 0), "initialize": (1.4, WEIGHTS)},
    "to_empty": {"construct": (0.02, 0), "initialize": (1.45, WEIGHTS)},
    "foreach": {"construct": (0.02, 0), "initialize": (0.9, WEIGHTS)},
}

CODE = """\
with torch.device("meta"):
    model = build()
state = torch.load("checkpoint.pt", mmap=True, weights_only=True)
model.load_state_dict(state, assign=True)
model.tie_weights()
"""

TITLES = {"meta_assign_mmap": "construct on meta, assign a mapped checkpoint, tie again"}


class Maker:
    """Draws the times of processes."""

    def __init__(self, seed=1, rounds=4, slower=1.0):
        self.random, self.rounds, self.slower = random.Random(seed), rounds, slower

    def times(self, seconds):
        return tuple(seconds * self.slower * self.random.uniform(0.97, 1.03) for _ in range(self.rounds))

    def way(self, job, name, stages, **more):
        drawn = tuple(Stage(stage, self.times(seconds), moved) for stage, (seconds, moved) in stages.items())
        peak = tuple(int(WEIGHTS * (2.1 if "copy" in name else 1.02)) for _ in range(self.rounds))
        title = TITLES.get(name, name.replace("_", " "))
        return Way(job, name, title, drawn, peak, **{"code": CODE, **more})

    def ways(self):
        for name, stages in STAGES.items():
            wrong = (
                "12 buffers stay on meta: transformer.h.0.attn.bias and others" if name.endswith("unfinished") else ""
            )
            needs = ("Tie again: `lm_head.weight` is a parameter of its own in the checkpoint.",)
            yield self.way("load", name, stages, wrong=wrong, needs=needs if "assign" in name else ())
        for name, stages in INITIALIZE.items():
            yield self.way("initialize", name, stages)
        yield Way("initialize", "lazy", "lazily", why_not="the model has no lazy module")

    def idioms(self):
        jobs = {
            "state_dict": {"state_dict": 2.1e-4, "named_parameters": 3.4e-4, "get_model_state_dict": 2.6e-3},
            "zero_grad": {"to_none": 2.4e-5, "to_zero": 0.021},
            "clip": {"foreach": 0.049, "loop": 0.052},
            "step": {"for_loop": 0.31, "foreach": 0.29, "fused": 0.11},
            "moving_average": {"foreach": 0.071, "loop": 0.083, "two_state_dicts": 0.35},
        }
        moved = {"clip": 3 * WEIGHTS, "step": 7 * WEIGHTS, "moving_average": 3 * WEIGHTS}
        for job, idioms in jobs.items():
            for name, seconds in idioms.items():
                yield Idiom(job, name, self.times(seconds), moved.get(job, 0), note=f"{name} of {job} (pytorch#94820).")
        yield Idiom("save", "clone", self.times(0.4))
        yield Idiom("save", "view", self.times(0.9), wrong="the file holds the whole storage, 147 MiB more")
        yield Idiom("parametrized", "cached", why_not="no parameter is parametrized")

    def calls(self):
        for name, seconds in {"full_state_dict": 0.8, "sharded_state_dict": 0.004, "clip": 0.06}.items():
            ranks = tuple(tuple(seconds * self.random.uniform(0.95, 1.05) for _ in range(2)) for _ in range(7))
            yield RankTimes("sharded", name, 2, ranks, (WEIGHTS, WEIGHTS // 2))
        yield RankTimes(
            "sharded", "tied", 2, why_not="torch 2.13.0 rejects a tied embedding across shards (pytorch#176225)"
        )


def gpt2(seed=1, rounds=4, slower=1.0, ranks=False, **more):
    """The record of GPT-2 small."""
    maker = Maker(seed, rounds, slower)
    return replace(
        ModelRecord(
            spec=ModelSpec("gpt2"),
            layout=LAYOUT,
            machine={"machine": "box", "cpu": "AMD EPYC", "num_cpu": "2", "ram": str(24 * 2**30), "os": "Linux 6.18"},
            versions={"Python": "3.11", "torch": "2.13.0", "safetensors": "0.6.2"},
            date=f"2026-11-30T20:25:{seed:02}+00:00",
            seconds=83.0,
            commit="0123456789abcdef" * 2,
            ways=tuple(maker.ways()),
            idioms=tuple(maker.idioms()),
            ranks=tuple(maker.calls()) if ranks else (),
            write_limit=9.8e9,
            copy_limit=2.1e10,
            notes=("4 % of the weights are denormal.",),
        ),
        **more,
    )


def hostile(text):
    """The record with `text` in every text of others."""
    record = gpt2(ranks=True)
    layout = replace(
        LAYOUT,
        largest=f"{LAYOUT.largest}{text}",
        dtypes={f"float32{text}": 1},
        non_persistent=(text, *LAYOUT.non_persistent),
        ties=((f"a{text}", f"b{text}"),),
        lazy=(text,),
    )
    ways = tuple(
        replace(
            way,
            name=f"{way.name}{text}",
            title=f"{way.title}{text}",
            wrong=f"{way.wrong}{text}" if way.wrong else "",
            why_not=f"{way.why_not}{text}" if way.why_not else "",
            code=f"{way.code}# {text}",
            needs=(text,),
            law=f"linear {text}",
        )
        for way in record.ways
    )
    idioms = tuple(
        replace(
            one, job=f"{one.job}{text}", name=f"{one.name}{text}", note=text, wrong=one.wrong and f"{one.wrong}{text}"
        )
        for one in record.idioms
    )
    ranks = tuple(replace(one, name=f"{one.name}{text}") for one in record.ranks)
    return replace(
        record,
        spec=ModelSpec(f"package:{text}", f"cpu{text}"),
        layout=layout,
        machine={"machine": text, "cpu": f"CPU{text}"},
        versions={"torch": f"2.13{text}"},
        ways=ways,
        idioms=idioms,
        ranks=ranks,
        notes=(text,),
    )
