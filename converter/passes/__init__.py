"""Changes to a converted model: a file each, strangers to each other, found by name (`converter.plugins.PassInfo`).

`--quantize NAME` runs the pass of that name last; those of the stage "tidy" run for every file.
"""
