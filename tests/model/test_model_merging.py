"""Times of several processes are joined."""

from bench_core.model.merging import merged
from bench_core.records.model import Idiom


def test_the_times_of_several_processes_stand_in_their_order():
    one = [Idiom("clip", "for_loop", (1.0,), 12, note="n"), Idiom("clip", "foreach", (2.0,), 12)]
    two = [Idiom("clip", "for_loop", (3.0,), 12, note="n"), Idiom("clip", "foreach", (4.0,), 12)]
    assert merged([one, two]) == (
        Idiom("clip", "for_loop", (1.0, 3.0), 12, note="n"),
        Idiom("clip", "foreach", (2.0, 4.0), 12),
    )


def test_what_one_process_finds_wrong_or_impossible_holds_for_all():
    one = [Idiom("clip", "for_loop", (1.0,)), Idiom("clip", "foreach", (2.0,))]
    two = [Idiom("clip", "for_loop", (3.0,), wrong="off"), Idiom("clip", "foreach", why_not="no memory")]
    assert merged([one, two]) == (
        Idiom("clip", "for_loop", (1.0, 3.0), wrong="off"),
        Idiom("clip", "foreach", why_not="no memory"),
    )
    assert merged([]) == ()
