"""Packets to bytes and back: by paho's public names, and faster where paho is of a version that is known."""
