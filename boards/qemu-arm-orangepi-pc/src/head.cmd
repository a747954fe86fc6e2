# qemu-arm-orangepi-pc: the SD card that U-Boot found this script on; kernel messages on its first serial line.
setenv cairn_disk ${devtype}
setenv cairn_number ${devnum}
setenv cairn_args "console=ttyS0,115200"
setenv cairn_start bootz
setenv cairn_board_fdt ${fdtcontroladdr}
# All that a kernel is given lies in the first 64 MB, where one that is told mem=64M finds it.
setenv bootm_size 4000000

