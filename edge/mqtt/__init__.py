"""Connections that several parts share."""
