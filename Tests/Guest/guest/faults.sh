# shellcheck shell=dash disable=SC2154
# What must not end as a mirror: disks that can't be tracked, that vanish, that fail, and that
# lose what was written.

faults() {
    echo "refused-zoned refused-dax refused-member refused-counters refused-vfat"
    echo "vanished-source-scsi vanished-source-nvme vanished-source-virtio"
    echo "vanished-target-scsi vanished-target-null vanished-last-scsi released-null"
    echo "copied-source-scsi copied-target-scsi"
    echo "power-flushed power-tracked replaced-scsi"
    echo "medium-full medium-ignored medium-live room-thin"
}

refused() {
    case $1 in
        zoned)
            null_blk one zoned=1 zone_size=4
            refuse "$null_disk" zoned
            no_null_blk one
            ;;
        dax)
            [ "$(cat /sys/block/pmem0/queue/dax)" = 1 ] || skip "there is no disk with DAX"
            refuse /dev/pmem0 DAX
            ;;
        member)
            make md
            refuse "$leg1" md0
            drop md
            ;;
        counters)
            make virtio
            echo 0 >"$(sysfs "$disk")/queue/iostats"
            refuse "$disk" iostats
            echo 1 >"$(sysfs "$disk")/queue/iostats"
            ;;
        vfat)
            make linear
            mkfs.vfat "$disk"
            mount -t vfat "$disk" /mnt || skip "there is no vfat"
            run 3 live "$disk" "$target" --freeze --overwrite
            said "vfat"
            umount /mnt
            drop linear
            ;;
    esac
}
# refuse DISK REASON
refuse() {
    run 3 track start "$1" --bitmap b
    said "$2"
    run 3 live "$1" "$(by_serial lower)" --freeze --overwrite --allow-larger
    said "$2"
}

# unplug DISK: as whoever pulls it out does it.
unplug() {
    local device
    device=/sys/block/${1#/dev/}/device
    case $1 in
        *sd*) echo 1 >"$device/delete" ;;
        *nvme*) echo 1 >"$device/device/remove" ;;
        *vd*) echo 'QMP {"execute":"device_del","arguments":{"id":"virtio-one"}}' >/dev/console ;;
        *) echo 0 >"$null/one/power" ;;
    esac
}
# unplug_later DISK TARGET: in the middle of the copy.
unplug_later() {
    (
        wait_for written "$2" $(($(sectors_written "$2") + 16384))
        unplug "$1"
    ) &
}
written() {
    [ "$(sectors_written "$1")" -ge "$2" ]
}

# pair SOURCE|TARGET KIND: sets $source and $to; that side is of the kind, and can be unplugged.
pair() {
    source=$(by_serial spare)
    to=$target
    case $2 in
        scsi)
            scsi_debug 1
            victim=$(scsi_disk 1)
            ;;
        nvme) victim=$(by_serial nvme-two) ;;
        virtio) victim=$(by_serial virtio-one) ;;
        null)
            null_blk one cache_size=32
            victim=$null_disk
            ;;
    esac
    if [ "$1" = target ]; then to=$victim; else source=$victim; fi
}
no_pair() {
    wait 2>/dev/null
    umount /mnt 2>/dev/null || umount -l /mnt
    case $1 in
        scsi) no_scsi_debug ;;
        null) no_null_blk one ;;
    esac
}

# A live mirror of which one side is pulled out.
vanished() {
    local side=${1%-*} kind=${1#*-} speed=16M
    pair "$side" "$kind"
    [ "$kind" != virtio ] || speed=5M
    prepare "$source" ext4
    begin_writing 5
    if [ "$side" = last ]; then
        # While the writers stand still, and the rest is copied.
        cat >/run/stop <<END
#!/bin/sh
kill \$(cat /run/writer.pid)
echo 1 >/sys/block/${victim#/dev/}/device/delete
END
        run 1 live "$source" "$to" --overwrite --complete-command "sh /run/stop"
    else
        unplug_later "$victim" "$to"
        run 1 live "$source" "$to" --freeze --overwrite --speed $speed
    fi
    said "$victim"
    said "not a mirror"
    never_said "is a mirror"
    [ "$side" != target ] || thawed
    end_writing
    no_pair "$kind"
}

# The target is pulled out while the source's filesystem is frozen.
released() {
    # So slow that comparing takes two seconds.
    null_blk one mbps=32
    disk=$(by_serial spare)
    prepare "$disk" ext4
    rm -f /run/silent /run/over
    (
        until [ -e /run/over ]; do
            date >/mnt/probe
            touch /run/probe
            usleep 20000
        done
    ) &
    (
        wait_for written "$null_disk" $((bytes / 512 / 2))
        wait_for silent
        unplug "$null_disk"
    ) &
    run 1 live "$disk" "$null_disk" --freeze --verify=all --overwrite --max-pause 20s
    said "$null_disk"
    said "not a mirror"
    [ -e /run/silent ] || fail "the filesystem was never frozen"
    thawed
    ! pidof ringmirror || fail "a process of ringmirror is left"
    touch /run/over
    wait
    umount /mnt
    no_null_blk one
}
# Whether nothing was written for half a second.
silent() {
    local before
    before=$(stat -c %y /run/probe)
    usleep 500000
    [ "$before" = "$(stat -c %y /run/probe)" ] && touch /run/silent
}

# A full mirror of which one side is pulled out.
copied() {
    pair "${1%-*}" "${1#*-}"
    dd if=/dev/urandom of="$source" bs=1M count=64 2>/dev/null
    unplug_later "$victim" "$to"
    run 1 full "$source" "$to" --overwrite --speed 16M
    said "$victim"
    said "not a mirror"
    no_pair "${1#*-}"
}

cut_power() {
    echo 0 >"$null/$1/power"
    echo 1 >"$null/$1/power"
    wait_for test -b "$null_disk"
}

power() {
    null_blk one cache_size=32
    case $1 in
        flushed)
            # The cache has to lose something, or the rest proves nothing.
            dd if=/dev/urandom of="$null_disk" bs=64k count=4 seek=100 oflag=direct 2>/dev/null
            cut_power one
            dd if="$null_disk" of=/run/lost bs=64k count=4 skip=100 iflag=direct 2>/dev/null
            [ "$(tr -d '\0' </run/lost | wc -c)" = 0 ] || fail "the volatile cache keeps its writes"
            make virtio
            prepare "$disk" ext4
            begin_writing 6
            run 0 live "$disk" "$null_disk" --overwrite --complete-command "sh ./stop.sh"
            cut_power one
            same "$disk" "$null_disk"
            ;;
        tracked)
            run 0 track start "$null_disk" --bitmap b
            run 0 full "$null_disk" "$target" --bitmap b --overwrite
            cut_power one
            tool scribble "$null_disk" "$bytes" 7 0 16
            # To the kernel it is another disk now, which nothing has marked.
            run 3 incremental "$null_disk" "$target" --bitmap b
            said "another disk"
            # What it says is to be done: the file is moved away. Then the tracker can be stopped.
            rm -r "${RINGMIRROR_STATE_DIR:?}"/*
            run 0 track stop "$null_disk"
            run 0 track list
            said "no disk is tracked"
            ;;
    esac
    no_null_blk one
}

# Another disk with the same number and the same serial.
replaced() {
    make "$1"
    run 0 track start "$disk" --bitmap b
    run 0 full "$disk" "$target" --bitmap b --overwrite
    drop "$1"
    run 0 track list
    make "$1"
    tool scribble "$disk" "$bytes" 8 0 16
    run 3 incremental "$disk" "$target" --bitmap b
    said inconsistent
    run 0 track list
    said "no disk is tracked"
    run 0 full "$disk" "$target" --bitmap b --only-differences
    same "$disk" "$target"
    drop "$1"
}

# Sectors that can't be read: 10 of them, from 32 MiB on.
medium() {
    scsi_debug 1 opts=2 medium_error_start=65536
    disk=$(scsi_disk 1)
    case $1 in
        full) run 1 full "$disk" "$target" --overwrite ;;
        ignored) run 1 full "$disk" "$target" --overwrite --on-source-error ignore ;;
        live) run 1 live "$disk" "$target" --overwrite --until-unmounted ;;
    esac
    said "$disk"
    said 33554432
    said "no data available\|medium"
    said "not a mirror"
    no_scsi_debug
}

# A disk that promises more than its pool has.
room() {
    thin thin 32768
    make virtio
    dd if=/dev/urandom of="$disk" bs=1M count=64 2>/dev/null
    run 1 full "$disk" /dev/mapper/thin --overwrite
    said /dev/mapper/thin
    said "space"
    said "not a mirror"
    drop thin
}
