# shellcheck shell=dash disable=SC2034,SC2154
# The kinds of disks: `make KIND` sets $disk, `drop KIND` removes what was made. All are of 64 MiB.

bytes=67108864
sectors=131072
null=/sys/kernel/config/nullb
adapter=/sys/bus/pseudo/drivers/scsi_debug

# Names change from boot to boot, and serials don't.
by_serial() {
    local file
    for file in /sys/block/*/serial /sys/block/*/device/serial; do
        [ -e "$file" ] || continue
        [ "$(tr -d ' \n' <"$file")" = "$1" ] || continue
        file=${file#/sys/block/}
        echo "/dev/${file%%/*}"
        return
    done
    fail "there is no disk with the serial $1"
}

# The folder of a disk in sysfs.
sysfs() {
    stat -L -c '0x%t 0x%T' "$1" | {
        read -r major minor
        readlink -f "/sys/dev/block/$((major)):$((minor))"
    }
}

sectors_written() {
    awk '{ print $7 }' "$(sysfs "$1")/stat"
}

# scsi_debug DISKS OPTION...: all of them have contents of their own.
scsi_debug() {
    local count=$1
    shift
    modprobe scsi_debug dev_size_mb=64 add_host="$count" per_host_store=1 delay=0 "$@" ||
        fail "scsi_debug can't be loaded"
    wait_for scsi_disk "$count"
}
no_scsi_debug() {
    [ ! -d /sys/module/scsi_debug ] || wait_for rmmod scsi_debug
}
scsi_disk() {
    local path
    path=$(echo "$adapter/adapter$(($1 - 1))"/host*/target*/*:*/block/*)
    [ -e "$path" ] && echo "/dev/${path##*/}"
}

# null_blk NAME ATTRIBUTE=VALUE...
null_blk() {
    local name=$1 word
    shift
    mkdir "$null/$name"
    for word in size=64 memory_backed=1 blocksize=512 "$@"; do
        echo "${word#*=}" >"$null/$name/${word%%=*}" || fail "null_blk has no $word"
    done
    echo 1 >"$null/$name/power" || fail "null_blk does not start"
    # Up to Linux 6.1 the disk has a number, later on it has the name of the folder.
    null_disk=/dev/$name
    [ -b "$null_disk" ] || null_disk=/dev/nullb$(cat "$null/$name/index")
    wait_for test -b "$null_disk"
}
no_null_blk() {
    local name
    for name in "$@"; do
        [ -d "$null/$name" ] || continue
        echo 0 >"$null/$name/power"
        rmdir "$null/$name"
    done
}

# linear NAME FIRST SECTORS: a part of the disk that others stand on.
linear() {
    dmsetup create "$1" --table "0 $3 linear $(by_serial lower) $2"
}

# thin NAME SECTORS: a pool with room for so much, and a thin disk of 64 MiB in it.
thin() {
    linear "$1-meta" 262144 8192
    linear "$1-data" 270336 "$2"
    dd if=/dev/zero of="/dev/mapper/$1-meta" bs=4096 count=1 oflag=direct 2>/dev/null
    dmsetup create "$1-pool" --table \
        "0 $2 thin-pool /dev/mapper/$1-meta /dev/mapper/$1-data 128 0 1 error_if_no_space"
    dmsetup message "$1-pool" 0 "create_thin 0"
    dmsetup create "$1" --table "0 $sectors thin /dev/mapper/$1-pool 0"
}
no_dm() {
    local name
    for name in "$@"; do dmsetup remove --retry "$name" 2>/dev/null; done
}

make() {
    case $1 in
        nvme) disk=$(by_serial nvme-one) ;;
        virtio) disk=$(by_serial spare) ;;
        scsi)
            scsi_debug 1 lbpu=1 lbprz=1
            disk=$(scsi_disk 1)
            ;;
        linear)
            linear linear 0 $sectors
            disk=/dev/mapper/linear
            ;;
        crypt)
            key=$(printf '%064d' 7)
            dmsetup create crypt --table \
                "0 $sectors crypt aes-xts-plain64 $key 0 $(by_serial lower) $sectors"
            disk=/dev/mapper/crypt
            ;;
        thin)
            thin thin $sectors
            disk=/dev/mapper/thin
            ;;
        md)
            null_blk leg1 size=66
            leg1=$null_disk
            null_blk leg2 size=66
            mdadm --create /dev/md0 --run --level=1 --raid-devices=2 --bitmap=none --size=65536K \
                --assume-clean "$leg1" "$null_disk" 2>&1
            disk=/dev/md0
            ;;
        sector)
            null_blk sector blocksize=4096
            disk=$null_disk
            ;;
        null)
            null_blk volatile cache_size=32 discard=1
            disk=$null_disk
            ;;
    esac
    [ -b "$disk" ] || fail "the disk $1 can't be made"
    # Up to Linux 6.1 it reads 0 there on dm, which counts all the same: see `counted`.
    echo 1 >"$(sysfs "$disk")/queue/iostats"
    [ "$(blockdev --getsize64 "$disk")" = $bytes ] || fail "$disk is not of 64 MiB"
}

drop() {
    case $1 in
        scsi) no_scsi_debug ;;
        linear | crypt) no_dm "$1" ;;
        thin) no_dm thin thin-pool thin-data thin-meta ;;
        md)
            mdadm --stop /dev/md0 2>&1
            no_null_blk leg1 leg2
            ;;
        sector) no_null_blk sector ;;
        null) no_null_blk volatile ;;
    esac
}
