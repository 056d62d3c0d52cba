#!/bin/sh
# shellcheck shell=dash
# After a failure: takes away what the scenario has left, so that the next one has a chance.
cd /guest || exit
. ./common.sh
. ./disks.sh
exec >/dev/null 2>&1
kill "$(cat /run/writer.pid)"
fsfreeze --unfreeze /mnt
umount -l /mnt
ringmirror track list | sed -n 's/^\(\/dev\/[^ ]*\).*/\1/p' | while read -r disk; do
    timeout 20 ringmirror track stop "$disk"
done
for kind in md thin crypt linear scsi null; do drop $kind; done
no_null_blk one two zoned
