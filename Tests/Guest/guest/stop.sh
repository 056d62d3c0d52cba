#!/bin/sh
# shellcheck shell=dash
# Ends the program that writes, and unmounts what it writes to, for --complete-command.
kill "$(cat /run/writer.pid)"
until umount /mnt 2>/dev/null; do usleep 50000; done
