# The steps of board/build; sourced by it, after the board's own file. Variables are build's.

fail() {
    echo "board/build: $*" >&2
    exit 1
}

step() {
    local title=$1 start=$SECONDS
    shift
    echo "== $title"
    "$@"
    echo "-- $title: $((SECONDS - start)) s"
}

# A program of Debian 13, whatever runs here: the tools' own system, with target/board as /board.
tool() {
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
        SOURCE_DATE_EPOCH="$SOURCE_DATE_EPOCH" E2FSPROGS_FAKE_TIME="$SOURCE_DATE_EPOCH" \
        unshare --mount -- sh -c '
            mount --bind "$2" "$2" && mount --bind "$1" "$2/board" && mount -t proc proc "$2/proc" && mount --bind /dev "$2/dev"
            tools=$2; shift 2; exec chroot "$tools" "$@"' sh "$work" "$tools" "$@"
}

# --- tools --------------------------------------------------------------------------------------

make_tools() {
    [ -e "$tools/.ready" ] && return
    if ! command -v mmdebstrap >/dev/null; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
            mmdebstrap >/dev/null
    fi
    rm -rf "$tools"
    local wanted=mmdebstrap,ca-certificates,squashfs-tools,e2fsprogs,dosfstools,mtools,genimage
    wanted+=,u-boot-tools,u-boot-qemu,kmod,systemd,rauc,openssl,cpio,zstd,gzip,fdisk,busybox
    tried=$tools
    try mmdebstrap --quiet --variant=apt --architectures=amd64,arm64,armhf \
        --components="main non-free-firmware" --include="$wanted" \
        --aptopt='APT::Install-Recommends "false"' trixie "$tools" \
        "deb $mirror trixie main non-free-firmware"
    mkdir -p "$tools/board"
    touch "$tools/.ready"
}

# A mirror may be in the middle of its update: again, after a while.
try() {
    local left
    for left in 3 2 1 0; do
        "$@" && return
        rm -rf "$tried"
        [ "$left" = 0 ] || { echo "again in 20 s"; sleep 20; }
    done
    fail "that failed four times: ${*:1:2}"
}

find_package() {
    if [ -z "$deb" ]; then
        "$top/cross/build" --deb "$arch"
        deb=$(ls -t "$top"/target/debian/klatsch_*_"$arch".deb | head -n 1)
    fi
    [ -f "$deb" ] || fail "there is no package $deb"
    cp "$deb" "$out/klatsch.deb"
    version=$(dpkg-deb --field "$out/klatsch.deb" Version)
    [ "$(dpkg-deb --field "$out/klatsch.deb" Architecture)" = "$arch" ] ||
        fail "$deb is not for $arch"
    echo "klatsch $version for $arch"
}

# --- root ---------------------------------------------------------------------------------------

unpack_root() {
    rm -rf "$out/root"
    local list updates=("deb $security trixie-security main non-free-firmware")
    [ "$security" != none ] || updates=()
    list=$(sed 's/#.*//' "$here/system/packages" | xargs | tr ' ' ,)
    list+=,$kernel$(printf ',%s' "${packages[@]}")
    tried=$out/root
    try tool mmdebstrap --quiet --mode=root --variant=extract --architectures="$arch" \
        --components="main non-free-firmware" --include="${list%,}" \
        --aptopt='APT::Install-Recommends "false"' --skip=cleanup/apt/cache trixie "/board/$name/root" \
        "deb $mirror trixie main non-free-firmware" "${updates[@]}"
    dpkg-deb --extract "$out/klatsch.deb" "$out/root"
    release=$(basename "$out"/root/usr/lib/modules/*)
    # what came from where, and who wants whom, for the report
    local package who
    : >"$out/needs"
    for package in "$out"/root/var/cache/apt/archives/*.deb "$out/klatsch.deb"; do
        dpkg-deb --fsys-tarfile "$package" | tar -t |
            sed "s|^\./||; s|^|$(dpkg-deb --field "$package" Package) /|; s|/\$||"
        who=$(dpkg-deb --field "$package" Package)
        { dpkg-deb --field "$package" Depends; echo; dpkg-deb --field "$package" Pre-Depends; } |
            tr ',|' '\n\n' | sed "s/^ *//; s/[ :(].*//; /^\$/d; s/\$/ $who/" >>"$out/needs"
    done >"$out/files"
    echo "kernel $release, $(du -sm "$out/root" | cut -f1) MB unpacked"
}

# What the packages' maintainer scripts would have done, as far as this system needs it.
configure_root() {
    local root=$out/root file
    install -d -m 0755 "$root"/{boot/firmware,data,dev,proc,run,sys,etc/systemd/system,etc/rauc,etc/klatsch/klatsch.toml.d}
    install -d -m 1777 "$root/tmp"
    for file in passwd group; do
        install -m 0644 "$root/usr/share/base-passwd/$file.master" "$root/etc/$file"
    done
    cp -a --no-preserve=ownership "$here/system/root/." "$root/"
    install -D -m 0644 -t "$root/usr/lib/systemd/system/serial-getty@.service.d" \
        "$top/systemd/serial-getty@.service.d/klatsch.conf"
    rm -f "$root/usr/lib/sysusers.d/klatsch.conf" # ours has its number
    tool systemd-sysusers --root="/board/$name/root"
    # every small tool that no package brought
    local path
    tool busybox --list-full | while read -r path; do
        case $path in linuxrc | */init | */reboot | */halt | */poweroff) continue ;; esac
        path=usr/${path#usr/}
        [ -e "$root/$path" ] || [ -L "$root/$path" ] || ln -s busybox "$root/usr/bin/${path##*/}" 2>/dev/null || true
    done
    printf 'uninitialized\n' >"$root/etc/machine-id"
    ln -sfn ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
    ln -sfn ../proc/self/mounts "$root/etc/mtab"
    printf 'klatsch\n' >"$root/etc/hostname"
    printf '127.0.0.1 localhost\n::1 localhost\n' >"$root/etc/hosts"
    printf 'LANG=C.UTF-8\n' >"$root/etc/locale.conf"
    {
        cat "$root/usr/lib/os-release"
        echo "IMAGE_ID=$compatible"
        echo "IMAGE_VERSION=$version"
    } >"$out/os-release"
    rm -f "$root/etc/os-release"
    mv "$out/os-release" "$root/etc/os-release"
    sed "s/@COMPATIBLE@/$compatible/" "$here/system/rauc.conf" >"$root/etc/rauc/system.conf"
    {
        cat "$here/system/box.toml"
        [ -z "$led" ] || echo "led = \"$led\""
        printf '\n[[serial]]\ndevice = "/dev/%s"\n' "${lines[@]}"
    } >"$root/etc/klatsch/klatsch.toml.d/50-box.toml"
    make_keys
    install -m 0644 "$work/keys/update.cert.pem" "$root/etc/rauc/keyring.pem"
    tool systemctl --quiet --root="/board/$name/root" preset-all 2>&1 | grep -v '^Created symlink' || true
    install -d "$root/srv"
    rm -f "$root/usr/lib/tmpfiles.d/systemd-nologin.conf"
    for file in $(sed 's/#.*//' "$here/system/masked"); do
        case $file in
        *.rules) rm -f "$root/usr/lib/udev/rules.d/$file" ;;
        *-generator) rm -f "$root/usr/lib/systemd/system-generators/$file" ;;
        *) ln -sfn /dev/null "$root/etc/systemd/system/$file" ;;
        esac
    done
    ldconfig -r "$root" 2>/dev/null || tool ldconfig -r "/board/$name/root"
}

# The key that signs updates. Whoever publishes images keeps one key: KLATSCH_UPDATE_KEY and
# KLATSCH_UPDATE_CERT name its files. Else one is made for this checkout.
make_keys() {
    mkdir -p "$work/keys"
    if [ -n "${KLATSCH_UPDATE_KEY:-}" ]; then
        cp "$KLATSCH_UPDATE_KEY" "$work/keys/update.key.pem"
        cp "${KLATSCH_UPDATE_CERT:?stands beside KLATSCH_UPDATE_KEY}" "$work/keys/update.cert.pem"
    elif [ ! -f "$work/keys/update.key.pem" ]; then
        (umask 077 && tool openssl req -x509 -newkey rsa:3072 -nodes -days 7300 -subj "/CN=klatsch update" \
            -keyout /board/keys/update.key.pem -out /board/keys/update.cert.pem 2>/dev/null)
        echo "made a key for updates of this checkout"
    fi
}

# Modules by name, with all that they need, in the order in which they can be loaded.
closure() {
    local module
    for module in "$@"; do
        tool modprobe --dirname="/board/$name/root" --set-version="$release" --show-depends \
            --ignore-install "$module" 2>/dev/null | awk '$1 == "insmod" {print $2}' ||
            true # built in, or not of this kernel
    done | sed "s|^/board/$name/root||" | awk '!seen[$0]++'
}

trim_root() {
    local root=$out/root file
    tool depmod --basedir "/board/$name/root" "$release"
    # the kernel's modules: those named, and what they need
    closure $(sed 's/#.*//' "$here/system/modules") "${early[@]}" "${modules[@]}" >"$out/modules.kept"
    mkdir -p "$out/modules"
    rm -rf "$out/modules"/*
    while read -r file; do
        install -D -m 0644 "$root/$file" "$out/modules/$file"
    done <"$out/modules.kept"
    cp "$root/usr/lib/modules/$release"/modules.{builtin,builtin.modinfo,order} "$out/modules/"
    rm -rf "$root/usr/lib/modules/$release/kernel"
    cp -a "$out/modules/usr/lib/modules/$release/kernel" "$root/usr/lib/modules/$release/" 2>/dev/null ||
        cp -a "$out/modules/lib/modules/$release/kernel" "$root/usr/lib/modules/$release/"
    find "$root/usr/lib/modules/$release" -name '*.xz' -print -quit | grep -q . &&
        find "$root/usr/lib/modules/$release" -name '*.xz' -exec xz -d {} +
    tool depmod --basedir "/board/$name/root" "$release"
    # kernel and device trees leave for the slot and the FAT partition
    mv "$root/boot/vmlinuz-$release" "$out/vmlinuz"
    rm -rf "$out/dtbs" && mv "$root/usr/lib/linux-image-$release" "$out/dtbs"
    rm -rf "$root/boot"/*-"$release"
    [ ! -f "$root/usr/share/doc/raspi-firmware/copyright" ] ||
        cp "$root/usr/share/doc/raspi-firmware/copyright" "$out/copyright.raspi-firmware"
    # every package's copyright file stays, the rest of the documents goes
    (cd "$root/usr/share/doc" && find . -name copyright -print0 | LC_ALL=C sort -z |
        tar --null --files-from=- --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 -cf - |
        xz -9 >"$out/copyright.tar.xz")
    rm -rf "$root"/usr/share/{doc,man,info,locale,lintian,bash-completion,zsh,bug,common-licenses.d,i18n,gtk-doc,polkit-1,pixmaps,menu,debconf,perl5,gdb,initramfs-tools,reportbug,doc-base}
    install -D -m 0644 "$out/copyright.tar.xz" "$root/usr/share/doc/copyright.tar.xz"
    rm -rf "$root"/usr/lib/udev/hwdb.d "$root"/usr/lib/udev/hwdb.bin "$root"/etc/apt \
        "$root"/var/lib/dpkg "$root"/var/lib/apt "$root"/var/cache "$root"/var/log/* \
        "$root"/usr/lib/systemd/catalog "$root"/etc/init.d "$root"/etc/rc?.d "$root"/etc/cron.* \
        "$root"/usr/lib/*/perl-base "$root"/usr/bin/perl* "$root"/etc/kernel "$root"/etc/initramfs-tools \
        "$root"/usr/lib/kernel "$root"/usr/lib/*/gconv "$root"/usr/lib/klibc \
        "$root"/usr/share/{initramfs-tools,mime,glib-2.0,libc-bin,keyrings,X11,polkit-1,systemd/tests} \
        "$root"/usr/lib/systemd/{ukify,portable,boot} "$root"/usr/lib/*/systemd/tests
    trim_unwanted
    install -d "$root/var/cache" "$root/var/log"
    # Debian's choice of the two, which its maintainer script would have made
    ln -sf regulatory.db-debian "$root/usr/lib/firmware/regulatory.db"
    ln -sf regulatory.db.p7s-debian "$root/usr/lib/firmware/regulatory.db.p7s"
    trim_board
    echo "$(du -sm "$root" | cut -f1) MB are left"
}

# All files of the packages in system/unwanted. That nothing that stays is linked to one of them is
# looked at by tests/image/card.py.
trim_unwanted() {
    local package file
    for package in $(sed 's/#.*//' "$here/system/unwanted"); do
        sed -n "s/^$package //p" "$out/files" | while read -r file; do
            [ -d "$out/root/$file" ] || rm -f "$out/root/$file"
        done
    done
    rm -f "$out/root/usr/bin/lslogins" # linked to liblastlog2
}

# --- what boots ---------------------------------------------------------------------------------

make_initrd() {
    local tree=$out/initrd.d root=$out/root module order=
    rm -rf "$tree"
    mkdir -p "$tree"/{bin,dev,proc,sys,run,new,slot,modules}
    install -m 0755 "$root/usr/bin/busybox" "$tree/bin/busybox"
    install -m 0755 "$here/boot/init" "$tree/init"
    for module in $(closure loop squashfs ext4 overlay "${early[@]}"); do
        cp "$root/${module%.xz}" "$tree/modules/"
        order+=" $(basename "${module%.xz}")"
    done
    echo "$order" >"$tree/modules/order"
    (cd "$tree" && find . -print0 | LC_ALL=C sort -z | xargs -0 touch -h -d "@$SOURCE_DATE_EPOCH" &&
        find . -print0 | LC_ALL=C sort -z | tool_cpio) | zstd -q -19 >"$out/initrd"
    echo "initrd: $(stat -c %s "$out/initrd") bytes,$(wc -w <"$tree/modules/order") modules"
}

tool_cpio() {
    cpio --quiet --null --create --format=newc --owner=0:0 --reproducible
}

make_slot() {
    local tree=$out/slot.d
    rm -rf "$tree"
    mkdir -p "$tree"
    tool mksquashfs "/board/$name/root" "/board/$name/slot.d/root.squashfs" -quiet -no-progress \
        -comp zstd -Xcompression-level 15 -b 256K -no-xattrs >/dev/null
    if [ "$memory_gzip" = 0 ]; then
        cp "$out/vmlinuz" "$tree/kernel"
    else
        gzip -9n <"$out/vmlinuz" >"$tree/kernel"
    fi
    cp "$out/initrd" "$tree/initrd"
    echo "$compatible $version" >"$tree/version"
    local mb=$(($(du -sm "$tree" | cut -f1) * 105 / 100 + 4))
    rm -f "$out/slot.ext4"
    tool mke2fs -q -t ext4 -O ^has_journal,^resize_inode -m 0 -L klatsch-slot -b 4096 \
        -U 6b6c6174-7363-4800-8000-000000000001 \
        -E hash_seed=6b6c6174-7363-4800-8000-000000000002,root_owner=0:0 \
        -d "/board/$name/slot.d" "/board/$name/slot.ext4" "${mb}M"
    [ $mb -lt $slot_mb ] || fail "the system has $mb MB, a slot $slot_mb"
}

# Sizes of the card's partitions in MB. The data partition grows to the card at first boot.
boot_mb=64 slot_mb=192 data_mb=32

make_card() {
    local fat=$out/fat.d
    rm -rf "$fat"
    mkdir -p "$fat"
    local options
    options=$(printf 'console=%s,115200 ' "${consoles[@]}")
    sed -e "s/@KERNEL@/$memory_kernel/g; s/@GZIP@/$memory_gzip/g; s/@INITRD@/$memory_initrd/g" \
        -e "s/@FDT@/$fdt/g; s/@CONSOLES@/${options% }/g; s/@CMDLINE@/$cmdline/g" \
        "$here/boot/boot.cmd" >"$out/boot.cmd"
    tool mkimage -A "$([ "$arch" = arm64 ] && echo arm64 || echo arm)" -T script -C none \
        -n klatsch -d "/board/$name/boot.cmd" "/board/$name/fat.d/boot.scr" >/dev/null
    cp "$here/system/klatsch.toml" "$fat/klatsch.toml"
    fill_boot "$fat"
    mkdir -p "$out/data.d" && rm -rf "$out/data.d"/*
    cat >"$out/genimage.cfg" <<END
image boot.vfat {
    vfat { label = "KLATSCH" extraargs = "-F 32 -i 6b6c6174" }
    size = ${boot_mb}M
    mountpoint = "/"
}
image klatsch-$name.img {
    hdimage { partition-table-type = "mbr" disk-signature = 0x6b6c6174 align = 4M }
    partition boot { partition-type = 0xc bootable = true image = "boot.vfat" offset = 4M }
    partition a { partition-type = 0x83 image = "slot.ext4" size = ${slot_mb}M }
    partition b { partition-type = 0x83 size = ${slot_mb}M }
    partition data { partition-type = 0x83 image = "data.ext4" size = ${data_mb}M }
}
END
    rm -rf "$out/data.ext4"
    tool mke2fs -q -t ext4 -m 1 -L klatsch-data -b 4096 -E root_owner=0:0 -d "/board/$name/data.d" \
        "/board/$name/data.ext4" "${data_mb}M"
    tool sh -c "rm -rf /tmp/genimage && cd /board/$name && genimage --loglevel 0 --config genimage.cfg \
        --rootpath fat.d --inputpath . --outputpath . --tmppath /tmp/genimage"
}

make_update() {
    rm -rf "$out/bundle.d" "$out/klatsch-$name.raucb"
    mkdir -p "$out/bundle.d"
    cp "$out/slot.ext4" "$out/bundle.d/slot.ext4"
    cat >"$out/bundle.d/manifest.raucm" <<END
[update]
compatible=$compatible
version=$version

[bundle]
format=verity

[image.system]
filename=slot.ext4
END
    tool rauc --cert=/board/keys/update.cert.pem --key=/board/keys/update.key.pem \
        bundle "/board/$name/bundle.d" "/board/$name/klatsch-$name.raucb" >/dev/null
}

report() {
    local root=$out/root part bytes
    echo "klatsch $version, board $name, kernel $release"
    [ "$security" != none ] || echo "WITHOUT Debian's security updates (KLATSCH_SECURITY=none)"
    echo
    echo "     bytes  what"
    size() { printf '%10d  %s\n' "$(stat -c %s "$1")" "$2"; }
    size "$out/klatsch-$name.img" "the card image, of which $(($(stat -c %b "$out/klatsch-$name.img") / 2)) kB are in use"
    size "$out/klatsch-$name.raucb" "the update"
    size "$out/slot.d/kernel" "kernel"
    size "$out/slot.d/initrd" "initrd"
    size "$out/slot.d/root.squashfs" "root, compressed"
    echo
    echo "the card"
    tool sfdisk --quiet --list -o device,start,size,type "/board/$name/klatsch-$name.img" |
        sed "s|/board/$name/klatsch-$name.img|partition |"
    echo
    echo "the FAT partition"
    (cd "$out/fat.d" && stat -c '%10s  %n' -- * | sort -rn)
    echo
    echo "root, by Debian package: MB unpacked, and what for"
    awk '
        FILENAME == ARGV[1] { split($0, part, /[ \t]*#[ \t]*/); gsub(/[ \t(]/, "", part[1]); what[part[1]] = part[2]; next }
        FILENAME == ARGV[2] { owner[substr($0, index($0, " ") + 1)] = $1; next }
        FILENAME == ARGV[3] {
            if (wanted[$1]++ < 3) by[$1] = by[$1] (by[$1] ? ", " : "wanted by ") $2
            next
        }
        { path = substr($0, index($0, " ") + 1); who = path in owner ? owner[path] : "made here"
          if (path ~ /^\/usr\/lib\/modules/) who = "kernel modules"
          sum[who] += $1; all += $1 }
        END {
            what["klatsch"] = "the chat"; what["kernel modules"] = "drivers of this board, USB sticks and adapters, file systems"
            what["made here"] = "settings, links, the module index, copyright files"
            for (who in sum)
                if (sum[who] >= 100000) { if (!what[who]) what[who] = by[who]; printf "%7.1f  %-28s %s\n", sum[who] / 1e6, who, what[who] }
                else rest += sum[who]
            printf "%7.1f  %-28s\n%7.1f  %-28s\n", rest / 1e6, "others, below 0.1 each", all / 1e6, "all"
        }' <(cat "$here/system/packages" "$here/rpi.sh") <(sed 's| /lib/| /usr/lib/|; s| /bin/| /usr/bin/|; s| /sbin/| /usr/sbin/|' "$out/files") "$out/needs" \
        <(cd "$root" && find . -type f -printf '%s %P\n' | sed 's| | /|') | sort -rn
}
