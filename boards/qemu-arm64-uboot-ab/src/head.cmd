# qemu-arm64-uboot-ab: a virtio disk, the one that U-Boot found this script on; kernel messages on its serial line.
setenv cairn_disk ${devtype}
setenv cairn_number ${devnum}
setenv cairn_args "console=ttyAMA0"
# Behind the place that a kernel is unpacked to; 32 MiB. The device tree is the machine's, and that of the image names it only.
setenv cairn_fit 50000000
setenv cairn_fit_sectors 10000
setenv cairn_fit_more ${cairn_fit} ${fdtcontroladdr}
setenv cairn_start bootm

