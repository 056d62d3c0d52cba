#!/usr/bin/env bash
# Mirrors one small disk onto another and shows what ringmirror says on the way.
# Only files and loop devices that this script makes are touched; all are removed at its end.
set -euo pipefail

ringmirror=$(realpath "$1")
work=$(mktemp -d "${TMPDIR:-/var/tmp}/ringmirror-demo.XXXXXX")
loops=()
cleanup() {
    for loop in "${loops[@]}"; do losetup -d "$loop" 2>/dev/null || true; done
    rm -rf "$work"
}
trap cleanup EXIT

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
run() {
    printf '$ ringmirror %s\n' "$*"
    "$ringmirror" "$@"
}

say "1. Two disks of 1 GiB: the first holds 256 MiB of data, the second old rubbish"
truncate -s 1G "$work/first.img" "$work/second.img"
for mebibyte in 0 128 300 700; do
    dd if=/dev/urandom of="$work/first.img" bs=1M count=64 seek=$mebibyte conv=notrunc status=none
done
dd if=/dev/urandom of="$work/second.img" bs=1M count=512 seek=256 conv=notrunc status=none

source=$work/first.img
target=$work/second.img
if [ "$(id -u)" = 0 ] && first=$(losetup -f --show --direct-io=on "$source" 2>/dev/null); then
    loops+=("$first")
    second=$(losetup -f --show --direct-io=on "$target")
    loops+=("$second")
    source=$first
    target=$second
    echo "They are the loop disks $source and $target."
else
    echo "Loop devices can't be had here (they need root), so they are the image files themselves."
fi

say "2. What is the first one?"
run info "$source"

say "3. A bitmap, to know from now on what changes; then mirror it all"
bitmaps=(--bitmaps "$work/bitmaps")
run bitmap add "$source" nightly "${bitmaps[@]}"
run full "$source" "$target" --overwrite --bitmap nightly "${bitmaps[@]}" --progress

say "4. Is the second now what the first is?"
run compare "$source" "$target"

say "5. Something is written to the first, and whoever writes it marks that"
dd if=/dev/urandom of="$source" bs=64K count=100 seek=1000 conv=notrunc,fsync status=none
dd if=/dev/urandom of="$source" bs=64K count=10 seek=9000 conv=notrunc,fsync status=none
run bitmap mark "$source" nightly "$((1000 * 65536))+$((100 * 65536))" \
    "$((9000 * 65536))+$((10 * 65536))" "${bitmaps[@]}"
run bitmap show "$source" nightly "${bitmaps[@]}"

say "6. An incremental mirror moves only that, and clears the bitmap"
run incremental "$source" "$target" --bitmap nightly "${bitmaps[@]}" --verify=all

say "7. A disk that somebody uses is never overwritten"
status=0
run full "$source" "$source" || status=$?
echo "(exit code $status: refused by a guard, nothing was written)"

say "Done. 'ringmirror help incremental' and docs/cli.md tell the rest."
