"""
A model of the claim protocol (docs: the protocol), searched in every interleaving.

`database` is what PostgreSQL promises, `statements` the SQL, `protocol` the rules as the backend follows them,
`views` and `upkeep` whoever else is about, `invariants` the promises, `checker` the search, `scenarios` and
`mutations` what is searched.
"""
