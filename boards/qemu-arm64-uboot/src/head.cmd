# qemu-arm64-uboot: a virtio disk, the one that U-Boot found this script on; kernel messages on its serial line.
setenv cairn_disk ${devtype}
setenv cairn_number ${devnum}
setenv cairn_args "console=ttyAMA0"
setenv cairn_start booti
setenv cairn_board_fdt ${fdtcontroladdr}
# This U-Boot names no place for a device tree: one between kernel and initramfs, with room for the megabyte that QEMU makes.
setenv fdt_addr_r 43e00000
# What a kernel says when it gives up lies in memory that a reset leaves as it is: 256 KiB that nobody else uses.
setenv cairn_gets 'fdt mknode / reserved-memory; fdt set /reserved-memory "#address-cells" <2>; fdt set /reserved-memory "#size-cells" <2>; fdt set /reserved-memory ranges'
setenv cairn_gets_kept 'fdt mknode /reserved-memory ramoops@50000000; fdt set /reserved-memory/ramoops@50000000 compatible ramoops; fdt set /reserved-memory/ramoops@50000000 reg <0 0x50000000 0 0x40000>; fdt set /reserved-memory/ramoops@50000000 record-size <0x8000>'
setenv cairn_tree_gets 'run cairn_gets; run cairn_gets_kept'
