#!/bin/sh
# shellcheck shell=dash disable=SC1091
# Runs the scenarios, each in a shell of its own with a time limit, or the one that is named.
cd /guest || exit
. ./common.sh
. ./disks.sh
. ./mirrors.sh
. ./faults.sh

kinds="virtio nvme scsi linear crypt thin md null"

list() {
    local kind
    for kind in $kinds; do echo "tracked-$kind frozen-$kind"; done
    echo "counted-linear tracked-sector stopped-nvme stopped-crypt stopped-null"
    echo "split-md split-thin trimmed-nvme trimmed-virtio crowded-scsi crowded-virtio crowded-crypt"
    faults
}
# What depends on the kernel's version.
short_list() {
    local kind
    for kind in $kinds; do echo "tracked-$kind"; done
    echo "frozen-scsi frozen-crypt frozen-md counted-linear split-md trimmed-nvme crowded-scsi"
    echo "refused-zoned refused-dax vanished-source-nvme released-null power-flushed replaced-scsi"
}

# shellcheck disable=SC2034
target=$(by_serial target)
if [ $# -gt 0 ]; then
    "${1%%-*}" "${1#*-}"
    exit
fi

all=$(list)
! grep -q 'set=short' /proc/cmdline || all=$(short_list)
wanted=$(sed -n 's/.*scenarios=\([^ ]*\).*/\1/p' /proc/cmdline | tr , ' ')
all=${wanted:-$all}
# shellcheck disable=SC2086
set -- $all
echo "PLANNED $#"
for name in "$@"; do
    begun=$(cut -d. -f1 /proc/uptime)
    code=0
    # Disks without a serial go by their numbers, which come again.
    export RINGMIRROR_STATE_DIR="/run/state/$name"
    mkdir -p "$RINGMIRROR_STATE_DIR"
    timeout -s KILL 90 sh ./scenarios.sh "$name" >/run/log 2>&1 </dev/null || code=$?
    seconds=$(($(cut -d. -f1 /proc/uptime) - begun))
    why=$(sed -n 's/^why: //p' /run/log | head -n 1)
    case $code in
        0) echo "ok $name ($seconds s)" ;;
        77) echo "skip $name: $why" ;;
        137) echo "FAIL $name: no end after 90 s" ;;
        *) echo "FAIL $name: ${why:-exit $code}" ;;
    esac
    if [ $code != 0 ] && [ $code != 77 ]; then
        sed 's/^/    /' /run/log
        dmesg | tail -n 5 | sed 's/^/    kernel: /'
        sh ./tidy.sh
    fi
    sed "s/^/$name| /" /run/log
done
