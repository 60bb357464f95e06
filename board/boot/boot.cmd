# U-Boot's part of the A/B logic, the same on every board. Two copies of one 512-byte sector at
# 1 MiB hold how it stands, in U-Boot's own environment format with its CRC:
#   kl_order  the slots, the one to be tried first first
#   kl_a, kl_b  how often each may still be tried before it has proved itself
#   kl_trial  the slot that an update was put into and that has not proved itself yet, or none
# A boot costs its slot one try; the running system gives it back when the chat answers
# (/usr/lib/klatsch/slot). A torn sector is found by its CRC and the other copy counts; with
# neither, A is tried, then B. A file extra.txt on the FAT partition may add to the kernel's command
# line: one line, extra=...
setenv kl_m @INITRD@
${devtype} dev ${devnum}
setenv kl_order "A B"
setenv kl_a 3
setenv kl_b 3
setenv kl_trial none
if ${devtype} read ${kl_m} 0x800 1 && env import -c ${kl_m} 0x200 kl_order kl_a kl_b kl_trial; then
  echo "klatsch: order ${kl_order}, tries A ${kl_a} B ${kl_b}"
elif ${devtype} read ${kl_m} 0x801 1 && env import -c ${kl_m} 0x200 kl_order kl_a kl_b kl_trial; then
  echo "klatsch: second copy: order ${kl_order}, tries A ${kl_a} B ${kl_b}"
else
  echo "klatsch: no state yet"
fi
if test "${kl_a}${kl_b}" = 00; then
  echo "klatsch: all tries used up: all over again"
  setenv kl_a 3
  setenv kl_b 3
fi
setenv extra
if test -e ${devtype} ${devnum}:1 /extra.txt; then
  load ${devtype} ${devnum}:1 ${kl_m} /extra.txt && env import -t ${kl_m} ${filesize} extra
fi
setenv kl_done
for kl_s in ${kl_order}; do
  if test -z "${kl_done}"; then
    if test ${kl_s} = A; then
      setenv kl_n ${kl_a}
      setenv kl_p 2
    else
      setenv kl_n ${kl_b}
      setenv kl_p 3
    fi
    if test ${kl_n} -gt 0; then
      setexpr kl_n ${kl_n} - 1
      if test ${kl_s} = A; then setenv kl_a ${kl_n}; else setenv kl_b ${kl_n}; fi
      env export -c -s 0x200 ${kl_m} kl_order kl_a kl_b kl_trial
      ${devtype} write ${kl_m} 0x801 1
      ${devtype} write ${kl_m} 0x800 1
      echo "klatsch: slot ${kl_s}, then ${kl_n} more tries"
      setenv bootargs "@CONSOLES@ quiet loglevel=3 panic=10 systemd.getty_auto=0 systemd.show_status=0 klatsch.slot=${kl_s} @CMDLINE@ ${extra}"
      if test @GZIP@ = 0; then
        load ${devtype} ${devnum}:${kl_p} @KERNEL@ /kernel && load ${devtype} ${devnum}:${kl_p} @INITRD@ /initrd && bootz @KERNEL@ @INITRD@:${filesize} ${@FDT@}
      else
        load ${devtype} ${devnum}:${kl_p} @GZIP@ /kernel && unzip @GZIP@ @KERNEL@ && load ${devtype} ${devnum}:${kl_p} @INITRD@ /initrd && booti @KERNEL@ @INITRD@:${filesize} ${@FDT@}
      fi
      echo "klatsch: slot ${kl_s} cannot be booted"
    fi
  fi
done
reset
