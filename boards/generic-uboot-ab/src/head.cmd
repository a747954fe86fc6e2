# generic-uboot-ab: adapt these lines to the device. Sectors of 512 bytes, numbers in hexadecimal.
setenv cairn_disk ${devtype}
setenv cairn_number ${devnum}
setenv cairn_args "console=ttyS0,115200"
# Where a whole FIT image has room, and how many sectors of a slot are read: the largest image, here 32 MiB.
setenv cairn_fit ${loadaddr}
setenv cairn_fit_sectors 10000
setenv cairn_start bootm

