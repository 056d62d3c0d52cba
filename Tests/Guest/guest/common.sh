# shellcheck shell=dash
# What all scenarios use.

fail() {
    echo "why: $*"
    exit 1
}
skip() {
    echo "why: $*"
    exit 77
}

# wait_for COMMAND...: devices appear and go a moment after what makes them appear or go.
wait_for() {
    local tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] || fail "waited in vain for: $*"
        usleep 50000
    done
}

# run CODE WORDS...: ringmirror has to end with that code, soon. What it says is in /run/said.
run() {
    local wanted=$1 code=0
    shift
    echo "\$ ringmirror $*"
    timeout -s KILL 60 ringmirror "$@" >/run/said 2>&1 || code=$?
    cat /run/said
    [ $code != 137 ] || fail "ringmirror $1 hangs"
    [ $code = "$wanted" ] || fail "ringmirror $1 ended with $code, not $wanted"
}
said() {
    grep -qi -- "$1" /run/said || fail "ringmirror does not say '$1'"
}
never_said() {
    ! grep -qi -- "$1" /run/said || fail "ringmirror says '$1'"
}

same() {
    tool same "$1" "$2" || fail "$1 and $2 differ"
}

# A filesystem that is left frozen holds a write back for ever.
thawed() {
    timeout -s KILL 20 sh -c "echo alive >/mnt/alive && sync" ||
        fail "the filesystem is still frozen"
}

# prepare DISK FILESYSTEM: mounts a new filesystem, with something in it.
prepare() {
    case $2 in
        ext4) mkfs.ext4 -q -F "$1" ;;
        # It refuses less than 300 MiB, but for tests.
        xfs) mkfs.xfs -q -f --unsupported "$1" ;;
    esac || fail "mkfs.$2 failed"
    mount -t "$2" "$1" /mnt || fail "$1 can't be mounted"
    dd if=/dev/urandom of=/mnt/first bs=64k count=128 2>/dev/null
    sync
}

# A program that writes all the time, but no faster than can be copied.
begin_writing() {
    tool scribble /mnt/written 8388608 "$1" 5000 >/run/writer 2>&1 &
    echo $! >/run/writer.pid
}
end_writing() {
    kill "$(cat /run/writer.pid)" 2>/dev/null
    wait "$(cat /run/writer.pid)" 2>/dev/null
    return 0
}
