#!/bin/sh
# A day with a device, as a person types it: clone what it runs, add an app, post it, look at it.
# `cargo xtask test mission` runs exactly these lines. DEVICE is the address of the device; `pvcontrol` runs on it.
set -eu

pvr clone "http://$DEVICE:12368/cgi-bin" my-device && cd my-device
pvr app add --from nginx:stable-alpine webserver
pvr add . && pvr commit -m "add nginx" && pvr post "http://$DEVICE:12368"
pvcontrol ls; pvcontrol daemons ls; pvcontrol graph ls
