"""What on this machine disturbs timings: the facts, what follows from them, and how it is told."""
