"""Tracks beside trackers' ByteTrack, on scenes whose truth is known."""
