# What boots, as U-Boot decides it: two cells, one list, one note. The same lines on every board that counts.
#
#   Wanted, two copies --+
#   Spent, one sector ---+--> an entry of the list --> the note, written and read back --> cairn_role, cairn_revision
#
#   trial, max times | default, 3 | previous, 3 | factory, 3 | recovery for ever
#
# A boot is counted before it happens; the result of the write is checked; nothing is written but the sector of the
# note. A count is a tally, an x for each boot, so the lesser text is the lesser count. A place that was not found is
# asked for before each use: with an argument less, read and write take the count for the place.

for cairn_key in nonce default previous factory trial max spent boots; do setenv cairn_${cairn_key}; done
for cairn_key in first second note whole noted role revision after; do setenv cairn_${cairn_key}; done
setenv cairn_cell ${kernel_addr_r}
setenv cairn_back ${ramdisk_addr_r}

# What is wanted: the first copy if it is whole, else the second, 0x2000 sectors (4 MiB) behind it.
if ${cairn_disk} dev ${cairn_number}; then
  part start ${cairn_disk} ${cairn_number} spent cairn_note
  if part start ${cairn_disk} ${cairn_number} wanted cairn_first; then
    setexpr cairn_second ${cairn_first} + 2000
  fi
fi
for cairn_copy in ${cairn_first} ${cairn_second}; do
  if test -z "${cairn_default}" && ${cairn_disk} read ${cairn_cell} ${cairn_copy} 1; then
    env import -c ${cairn_cell} 200 cairn_nonce cairn_default cairn_previous cairn_factory cairn_trial cairn_max
  fi
done
# Neither: nonce 0, which no store has, and a list of two entries: the factory revision, and what the first slot holds.
if test -z "${cairn_default}"; then
  for cairn_key in previous trial max; do setenv cairn_${cairn_key}; done
  setenv cairn_nonce 0
  setenv cairn_factory 0
fi

# How many boots it had: none beside another nonce. A torn note spends the trial and nothing else.
if test -n "${cairn_note}" && ${cairn_disk} read ${cairn_cell} ${cairn_note} 1; then
  if env import -c ${cairn_cell} 200 cairn_spent cairn_boots; then setenv cairn_whole ${cairn_spent}; fi
fi
if test -z "${cairn_whole}"; then
  setenv cairn_boots ${cairn_max}
elif test ${cairn_spent} != ${cairn_nonce}; then
  setenv cairn_boots
fi

# Where each entry ends. One that is not there ends where the one before it does.
setenv cairn_end ${cairn_max}
setenv cairn_end_trial ${cairn_end}
if test -n "${cairn_default}"; then setenv cairn_end ${cairn_end}xxx; fi
setenv cairn_end_default ${cairn_end}
if test -n "${cairn_previous}"; then setenv cairn_end ${cairn_end}xxx; fi
setenv cairn_end_previous ${cairn_end}
if test -n "${cairn_factory}"; then setenv cairn_end ${cairn_end}xxx; fi
setenv cairn_end_factory ${cairn_end}
if test ${cairn_nonce} = 0; then setenv cairn_end ${cairn_end}xxx; fi

if test "${cairn_boots}" < "${cairn_end_trial}"; then
  setenv cairn_role trial
  setenv cairn_revision ${cairn_trial}
elif test "${cairn_boots}" < "${cairn_end_default}"; then
  setenv cairn_role default
  setenv cairn_revision ${cairn_default}
elif test "${cairn_boots}" < "${cairn_end_previous}"; then
  setenv cairn_role previous
  setenv cairn_revision ${cairn_previous}
elif test "${cairn_boots}" < "${cairn_end_factory}"; then
  setenv cairn_role factory
  setenv cairn_revision ${cairn_factory}
elif test "${cairn_boots}" < "${cairn_end}"; then
  setenv cairn_role first-slot
  setenv cairn_revision 0
else
  setenv cairn_role recovery
fi

# The note: one boot more, but never more than the list has.
setenv cairn_spent ${cairn_nonce}
if test "${cairn_boots}" < "${cairn_end}"; then
  setenv cairn_boots ${cairn_boots}x
else
  setenv cairn_boots ${cairn_end}
fi
if test -n "${cairn_note}" && env export -c -s 200 ${cairn_cell} cairn_spent cairn_boots; then
  if ${cairn_disk} write ${cairn_cell} ${cairn_note} 1 && ${cairn_disk} read ${cairn_back} ${cairn_note} 1; then
    if cmp.b ${cairn_cell} ${cairn_back} 200; then setenv cairn_noted yes; fi
  fi
fi
# An uncounted boot is never a trial. If its files cannot be read it would fail for ever, so recovery stands behind it.
if test -z "${cairn_noted}"; then
  setenv cairn_after recovery
  if test -n "${cairn_default}"; then
    setenv cairn_role default
    setenv cairn_revision ${cairn_default}
  fi
fi
