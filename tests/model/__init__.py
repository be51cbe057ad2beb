"""
The claim protocol as a state machine, searched in every interleaving.

`database` is what PostgreSQL promises and `statements` what it may answer; `protocol` is what the backend does, one
`yield` for each statement, and reads like section 3 of the design; `upkeep` is purge, recover and the staff;
`invariants` are the promises. `programs`, `world` and `checker` are the search. `scenarios` says who takes part and what
may go wrong, `mutations` is the table of rules with what breaks without each.

Not here, because one process or one transaction decides it alone: a transaction that Django has marked for rollback,
isolation levels above READ COMMITTED (they only turn "nothing" into "look again"), the savepoint of a joined claim
inside a caller's transaction, and SQLite, where the write lock leaves no interleavings.
"""
