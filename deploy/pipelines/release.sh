#!/bin/sh
# The way of a trained model to a fleet, a step at a time or all of them:
#
#     release.sh convert|verify|add|rollout|wait|promote|all
#
# Each step ends with an exit code of edge-run's (docs/exit-codes.md), so that any tool that runs commands can run it.
# `wait` pauses the rollout where devices go back, and ends with 5: then nothing is promoted. What it needs comes from
# the environment:
#
#   VERSION      what this version is called: a number or date that grows                        (must be said)
#   BROKER       the broker that devices speak with, mqtt://user@host                            (must be said, for wait)
#   FLEET_PASSPHRASE  of the keys, from the tool's store of secrets                              (must be said)
#   MODEL, SAMPLE     the trained model, and rows or a folder of pictures to compare by          model.skops, rows.csv
#   FILE         the model file that is made                                                     build/model.onnx
#   NAME         the model's name in the fleet                                                   model
#   OLD          the file that devices run now: what changes is written to $FILE.changes.html    (none)
#   FLEET        the folder that edge-fleet init made                                            fleet
#   CHANNEL      stable
#   FIRST        the share of the devices that try it first; of few devices take more            5%
#   CONFIRMED    the share that must have confirmed it before all get it                         4%
#   DEVICES      how many there are; 0: those that are heard                                     0
#   PATIENCE     seconds to wait for them                                                        7200
#   PUBLISH      a command that publishes $FLEET/public, run after each change                   (none)
set -eu

: "${MODEL:=model.skops}" "${SAMPLE:=rows.csv}" "${FILE:=build/model.onnx}" "${NAME:=model}" "${OLD:=}"
: "${FLEET:=fleet}" "${CHANNEL:=stable}" "${FIRST:=5%}" "${CONFIRMED:=4%}" "${DEVICES:=0}" "${PATIENCE:=7200}"
: "${PUBLISH:=:}"

convert() { # parity with the trained model is looked at, golden samples are put in
    mkdir -p "$(dirname "$FILE")"
    edge-convert "$MODEL" -o "$FILE" --sample "$SAMPLE" --name "$NAME" --version "$VERSION"
}

verify() { # it loads and its golden samples come out, as on a device; what it changes is for people to read
    edge-run "$FILE" --check --mqtt none --http 0
    [ -z "$OLD" ] || edge-convert --compare "$OLD" "$FILE" --sample "$SAMPLE" --report "$FILE.changes.html"
}

add() { # for no device yet
    edge-fleet add "$FLEET" "$FILE" --name "$NAME" --version "$VERSION" --channel "$CHANNEL"
    publish
}

rollout() {
    edge-fleet rollout "$FLEET" --name "$NAME" --version "$VERSION" --channel "$CHANNEL" --share "$FIRST"
    publish
}

wait_for() {
    # The pause has to be published too, where the wait ends with one.
    code=0
    edge-fleet wait --name "$NAME" --version "$VERSION" --share "$CONFIRMED" --devices "$DEVICES" --mqtt "$BROKER" \
        --timeout "$PATIENCE" --pause "$FLEET" --channel "$CHANNEL" || code=$?
    publish
    return "$code"
}

promote() {
    edge-fleet promote "$FLEET" --name "$NAME" --version "$VERSION" --channel "$CHANNEL"
    publish
}

publish() {
    sh -c "$PUBLISH"
}

case "${1:-}" in
convert | verify | add | rollout | promote) "$1" ;;
wait) wait_for ;;
all)
    # A process for each: `set -e` holds in each of them, whatever calls this.
    for step in convert verify add rollout wait promote; do
        sh "$0" "$step" || exit $?
    done
    ;;
*)
    echo "release.sh: one of convert, verify, add, rollout, wait, promote, all belongs there" >&2
    exit 2
    ;;
esac
