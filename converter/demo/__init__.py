"""`make demo`: the main job from end to end, on scikit-learn's handwritten digits."""
