# qemu-arm-orangepi-pc: the SD card that U-Boot found this script on; kernel messages on its first serial line.
setenv cairn_disk ${devtype}
setenv cairn_number ${devnum}
setenv cairn_args "console=ttyS0,115200"
setenv cairn_start bootz
setenv cairn_board_fdt ${fdtcontroladdr}

