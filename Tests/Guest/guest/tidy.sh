#!/bin/sh
# shellcheck shell=dash disable=SC1091
# After a failure: takes away what the scenario has left, so that the next one has a chance.
cd /guest || exit
. ./common.sh
. ./disks.sh
exec >/dev/null 2>&1
kill "$(cat /run/writer.pid)"
fsfreeze --unfreeze /mnt
umount -l /mnt
# A tracker ends with its pins.
rm -rf /sys/fs/bpf/ringmirror/*
for kind in md thin crypt linear scsi sector null; do drop $kind; done
no_null_blk one
