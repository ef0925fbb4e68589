"""Objects followed from frame to frame: a tracker in numpy, and the stage that gives its ids to results."""
