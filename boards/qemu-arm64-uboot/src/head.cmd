# qemu-arm64-uboot: a virtio disk, the one that U-Boot found this script on; kernel messages on its serial line.
setenv cairn_disk ${devtype}
setenv cairn_number ${devnum}
setenv cairn_args "console=ttyAMA0"
setenv cairn_start booti
setenv cairn_board_fdt ${fdtcontroladdr}

