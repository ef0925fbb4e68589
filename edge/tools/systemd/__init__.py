"""`edge-run service`: the configuration in use becomes a systemd service, hardened, that lasts a year in a cupboard.

What lies where, for an instance `digits`:

    /etc/systemd/system/edge-run@.service                            what all instances share
    /etc/systemd/system/edge-run@digits.service.d/10-edge-run.conf   what this one needs: devices, credentials, folders
    /etc/edge-run/digits/                                            its configuration, and copies of files from a home
    /var/lib/edge-run/digits                                         its state: spool and client id

The service runs as a user made for it alone (DynamicUser) that sees no home folder. So what lies in one, or in /tmp,
is copied; what lies elsewhere is used where it is. Secrets reach it as systemd credentials: files that root alone reads
are shown to this one service, and stand in no unit, environment or process list. The configuration goes the same way,
for the address of a camera may hold a password.

`plan` decides and touches nothing, `unit` writes text, `install` carries out, `systemctl` calls.
"""
