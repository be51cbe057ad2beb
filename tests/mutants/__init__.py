"""Takes the guarantees out of the code one by one: each time some test must go red."""
