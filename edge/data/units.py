"""Units of values: durations are nanoseconds inside, seconds where people read or write them."""

SECOND_NS = 1_000_000_000
