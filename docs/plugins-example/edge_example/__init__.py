"""A plug-in of each kind. `docs/PLUGINS.md` of edge-run goes through it file by file."""
