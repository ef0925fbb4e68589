"""Programs around the runtime: doctor, benchmark, systemd."""
