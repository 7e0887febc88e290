"""Times cells on an accelerator: its clock and state, the protocol of a run, and the record with its table."""
