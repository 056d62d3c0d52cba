# shellcheck shell=dash disable=SC2154
# What has to work on each kind of disk.

# Marks of the kernel are enough for an increment.
tracked() {
    make "$1"
    tool scribble "$disk" "$bytes" 1 0 64
    run 0 track start "$disk" --bitmap b
    run 0 full "$disk" "$target" --bitmap b --overwrite
    same "$disk" "$target"
    tool scribble "$disk" "$bytes" 2 0 64
    [ "$(cat "$(sysfs "$disk")/queue/discard_max_bytes")" = 0 ] ||
        tool discard "$disk" 4194304 8388608
    # It says what was lost, if something was.
    run 0 track status "$disk"
    run 0 incremental "$disk" "$target" --bitmap b
    same "$disk" "$target"
    run 0 incremental "$disk" "$target" --bitmap b
    said "nothing"
    run 0 track stop "$disk"
    drop "$1"
}

# What dm says of its counters is not all: they may count though they are said to be off.
counted() {
    local before
    linear linear 0 "$sectors"
    disk=/dev/mapper/linear
    before=$(sectors_written "$disk")
    dd if=/dev/zero of="$disk" bs=64k count=1 oflag=direct 2>/dev/null
    [ "$(sectors_written "$disk")" = $((before + 128)) ] || skip "this kernel counts nothing of dm"
    run 0 track start "$disk" --bitmap b
    run 0 track stop "$disk"
    drop linear
}

filesystem_for() {
    case $1 in
        nvme | crypt | scsi) echo xfs ;;
        *) echo ext4 ;;
    esac
}

# The mirror is compared before the writers go on.
frozen() {
    make "$1"
    prepare "$disk" "$(filesystem_for "$1")"
    begin_writing 3
    run 0 live "$disk" "$target" --freeze --verify=all --overwrite --max-pause 20s
    said "is a mirror"
    thawed
    kill -0 "$(cat /run/writer.pid)" || fail "the writer has ended: $(cat /run/writer)"
    end_writing
    umount /mnt
    drop "$1"
}

# Here something else than ringmirror compares.
stopped() {
    make "$1"
    prepare "$disk" "$(filesystem_for "$1")"
    begin_writing 4
    run 0 live "$disk" "$target" --complete-command "sh ./stop.sh" --overwrite --max-pause 20s
    said "is a mirror"
    same "$disk" "$target"
    drop "$1"
}

# What is larger than the disk takes at once is split, and its pieces complete as well.
split() {
    make "$1"
    run 0 track start "$disk" --bitmap b
    dd if=/dev/urandom of="$disk" bs=4M count=4 oflag=direct 2>/dev/null
    run 0 track status "$disk"
    never_said lost
    run 0 track stop "$disk"
    drop "$1"
}

# Disks of which some complete in soft and some in hard interrupts, all busy at once: an event that
# comes while the kernel's program runs for another one is still seen.
crowded() {
    local busy number
    make "$1"
    run 0 track start "$disk" --bitmap b
    run 0 full "$disk" "$target" --bitmap b --overwrite
    for busy in "$disk" "$(by_serial spare)" "$(by_serial nvme-one)" "$(by_serial nvme-two)"; do
        for number in 1 2; do
            dd if=/dev/urandom of="$busy" bs=4k count=1000 seek=$((number * 4000)) \
                oflag=direct 2>/dev/null &
        done
    done
    wait
    run 0 track status "$disk"
    never_said lost
    # A completion that was not seen counts as in flight for ever.
    said ", 0 bytes in flight"
    run 0 incremental "$disk" "$target" --bitmap b
    same "$disk" "$target"
    run 0 track stop "$disk"
    drop "$1"
}

# Discards that the kernel merges into one request concern ranges that don't touch.
trimmed() {
    local number=0
    make "$1"
    prepare "$disk" "$(filesystem_for "$1")"
    mkdir /mnt/many
    while [ $number -lt 200 ]; do
        number=$((number + 1))
        dd if=/dev/urandom of=/mnt/many/$number bs=68k count=1 2>/dev/null
    done
    umount /mnt
    run 0 track start "$disk" --bitmap b
    run 0 full "$disk" "$target" --bitmap b --overwrite
    mount -t "$(filesystem_for "$1")" -o discard "$disk" /mnt
    rm /mnt/many/*[13579]
    sync
    usleep 500000
    fstrim /mnt
    umount /mnt
    echo "max_discard_segments $(cat "$(sysfs "$disk")/queue/max_discard_segments")," \
        "discards, merged, sectors: $(awk '{ print $12, $13, $14 }' "$(sysfs "$disk")/stat")"
    run 0 incremental "$disk" "$target" --bitmap b
    same "$disk" "$target"
    run 0 track stop "$disk"
    drop "$1"
}
