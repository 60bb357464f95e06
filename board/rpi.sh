# What the Raspberry Pi boards share; sourced by their files. Pi's own boot firmware (under its own
# licence, from Debian's non-free-firmware) loads U-Boot from the FAT partition, U-Boot the slot.

packages=(
    raspi-firmware     # Pi's own boot firmware; the firmware of a radio
    u-boot-rpi         # U-Boot
    firmware-brcm80211 # the radios' firmware
)
# The firmware hands over the device tree that it chose and completed.
fdt=fdt_addr
# The LED beside the power socket, by the label that every Pi's device tree gives it.
led=ACT
# Below the 512 MB of the smallest board, less what the graphics processor keeps.
memory_kernel=0x00200000 memory_gzip=0x0c000000 memory_initrd=0x10000000
early=(mmc_block bcm2835 sdhci_iproc bcm2835_dma bcm2835_wdt
    clk_raspberrypi raspberrypi_cpufreq gpio_raspberrypi_exp i2c_bcm2835 pwm_bcm2835
    phy_generic reset_raspberrypi pcie_brcmstb xhci_pci usb_storage uas sd_mod dwc2 leds_gpio)
modules=(genet broadcom bcm_phy_lib mdio_bcm_unimac brcmfmac brcmfmac_wcc brcmfmac_cyw
    brcmutil ledtrig_timer ledtrig_heartbeat bcm2835_thermal bcm2711_thermal
    bcm2835_rng iproc_rng200 8250_bcm2835aux amba_pl011 microchip smsc
    ahci)

# The FAT partition: Pi's firmware, U-Boot, device trees, config.txt.
fill_boot() {
    local fat=$1 from=$out/firmware file
    cp "$from"/raspi-firmware/{bootcode.bin,start_cd.elf,fixup_cd.dat} "$fat/"
    [ "$arch" = armhf ] || cp "$from"/raspi-firmware/{start4cd.elf,fixup4cd.dat} "$fat/"
    cp "$out/copyright.raspi-firmware" "$fat/LICENCE.broadcom"
    for file in "${uboots[@]}"; do
        cp "$from/u-boot/${file#*=}/u-boot.bin" "$fat/${file%%=*}"
    done
    for file in "${dtbs[@]}"; do
        cp "$(find "$out/dtbs" -name "$file" | head -n 1)" "$fat/" ||
            fail "the kernel has no device tree $file"
    done
    {
        cat "$here/boot/config.txt"
        printf '%s\n' "${config[@]}"
    } >"$fat/config.txt"
}

# They leave the root for the FAT partition; of the radio's firmware stays what Pi boards carry.
trim_board() {
    local root=$out/root
    rm -rf "$out/firmware"
    mkdir -p "$out/firmware"
    mv "$root/usr/lib/raspi-firmware" "$root/usr/lib/u-boot" "$out/firmware/"
    find "$root/usr/lib/firmware" \( -type f -o -type l \) \
        ! -name '*43430*' ! -name '*43436*' ! -name '*43455*' ! -name '*43456*' \
        ! -name 'regulatory.db*' -delete
    find "$root/usr/lib/firmware" -type f -name '*-sdio.*.txt' ! -name '*raspberrypi*' -delete
    find "$root/usr/lib/firmware" -depth -type d -empty -delete
    find -L "$root/usr/lib/firmware" -type l -delete # what points to nothing now
}
