"""What pages ask of Postgres: pages of runs and trials, one trial, values of arms, adoption, dead letters.

Every query is bounded: in the rows it gives, in the rows it counts, and by the pool's statement timeout in the rows it
looks at. `pool.open_pool` makes sessions that can only read.
"""
