# The jump, on a board whose firmware reads trails: cairn_role and cairn_revision say what, the board's head says how.
# What cannot be read or started is a spent boot: it ends in a reset, never at a prompt.

for cairn_key in storage recovery; do setenv cairn_${cairn_key}; done
part number ${cairn_disk} ${cairn_number} storage cairn_storage
part number ${cairn_disk} ${cairn_number} recovery cairn_recovery

# Where nothing could be read of what is wanted, nobody knows whether the factory revision is held. Trails have no first
# slot; the factory revision stands for it.
if test ${cairn_nonce} = 0 && test ${cairn_role} != recovery; then
  if test -e ${cairn_disk} ${cairn_number}:${cairn_storage} trails/0/.pv/pv-kernel.img; then
    echo "cairn: what is wanted cannot be read"
  else
    setenv cairn_role recovery
  fi
fi

for cairn_as in ${cairn_role} ${cairn_after}; do
  if test ${cairn_as} = recovery; then
    setenv cairn_from ${cairn_number}:${cairn_recovery}
    setenv cairn_kernel kernel
    setenv cairn_initrd initrd
    setenv cairn_fdt fdt
  else
    setenv cairn_from ${cairn_number}:${cairn_storage}
    setenv cairn_kernel trails/${cairn_revision}/.pv/pv-kernel.img
    setenv cairn_initrd trails/${cairn_revision}/.pv/pv-initrd.img
    setenv cairn_fdt trails/${cairn_revision}/.pv/pv-fdt.dtb
  fi
  echo "cairn: ${cairn_as} ${cairn_from} ${cairn_kernel}"
  setenv bootargs "${cairn_args} panic=5 cairn.role=${cairn_as}"
  setenv cairn_tree ${cairn_board_fdt}
  if test -e ${cairn_disk} ${cairn_from} ${cairn_fdt}; then
    setenv cairn_tree
    if load ${cairn_disk} ${cairn_from} ${fdt_addr_r} ${cairn_fdt}; then setenv cairn_tree ${fdt_addr_r}; fi
  fi
  # What the board adds is added to a copy, which has room behind it. A tree that cannot be added to is a tree all the same.
  if test -n "${cairn_tree_gets}" && test -n "${cairn_tree}"; then
    if fdt addr ${cairn_tree} && fdt move ${cairn_tree} ${fdt_addr_r}; then
      setenv cairn_tree ${fdt_addr_r}
      if fdt resize 1024; then run cairn_tree_gets; fi
    fi
  fi
  if test -n "${cairn_tree}" && load ${cairn_disk} ${cairn_from} ${kernel_addr_r} ${cairn_kernel}; then
    if load ${cairn_disk} ${cairn_from} ${ramdisk_addr_r} ${cairn_initrd}; then
      ${cairn_start} ${kernel_addr_r} ${ramdisk_addr_r}:${filesize} ${cairn_tree}
    fi
  fi
done
echo "cairn: ${cairn_role} ${cairn_revision} cannot be started"
reset
