"""From stored results to answers: pure functions of records, without torch and without a clock."""
