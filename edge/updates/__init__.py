"""A model changes in the field: what is signed, where it stands, and which model a device comes back on."""
