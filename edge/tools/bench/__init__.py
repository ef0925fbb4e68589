"""`edge-bench MODEL`: how fast a model runs on this board, by threads, provider and precision.

What is measured is the engine alone, one inference after another on a made-up input, as `edge-run` calls it. Each
combination runs in a child process of its own and again in each round: its memory and its load time are its own, and
what the machine does for a while (heat, another process) falls on all combinations alike. What is told is the median
of the rounds. Nothing here is imported by `edge-run`.
"""
