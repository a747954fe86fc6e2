# The jump, on a board with slots: which one holds cairn_revision says the label of each, in two copies. What stands
# behind a label is a FIT image: kernel, initramfs and device tree with their hashes, which cairn_start checks.
# What cannot be read or started is a spent boot: it ends in a reset, never at a prompt.

setenv cairn_slot
for cairn_name in a b; do
  for cairn_key in first second holds; do setenv cairn_${cairn_key}; done
  if part start ${cairn_disk} ${cairn_number} slot-${cairn_name} cairn_first; then
    setexpr cairn_second ${cairn_first} + 2000
  fi
  for cairn_copy in ${cairn_first} ${cairn_second}; do
    if test -z "${cairn_holds}" && ${cairn_disk} read ${cairn_cell} ${cairn_copy} 1; then
      env import -c ${cairn_cell} 200 cairn_holds
    fi
  done
  for cairn_held in ${cairn_holds}; do
    if test ${cairn_held} = "${cairn_revision}"; then setenv cairn_slot ${cairn_name}; fi
  done
done

# Where nothing could be read of what is wanted: the factory revision if a slot holds it, else what the first slot holds.
if test ${cairn_nonce} = 0 && test -z "${cairn_slot}" && test ${cairn_role} = factory; then
  setenv cairn_role first-slot
fi
if test ${cairn_role} = first-slot; then setenv cairn_slot a; fi

for cairn_as in ${cairn_role} ${cairn_after}; do
  for cairn_key in first second; do setenv cairn_${cairn_key}; done
  setenv bootargs "${cairn_args} panic=5 cairn.role=${cairn_as}"
  if test ${cairn_as} = recovery; then
    part start ${cairn_disk} ${cairn_number} recovery cairn_second
  elif test -n "${cairn_slot}"; then
    setenv bootargs "${bootargs} cairn.slot=${cairn_slot}"
    if part start ${cairn_disk} ${cairn_number} slot-${cairn_slot} cairn_first; then
      setexpr cairn_second ${cairn_first} + 4000
    fi
  fi
  echo "cairn: ${cairn_as} ${cairn_number}:${cairn_second} ${cairn_slot}"
  if test -n "${cairn_second}" && ${cairn_disk} read ${cairn_fit} ${cairn_second} ${cairn_fit_sectors}; then
    ${cairn_start} ${cairn_fit} ${cairn_fit_more}
  fi
done
echo "cairn: ${cairn_role} ${cairn_revision} cannot be started"
reset
