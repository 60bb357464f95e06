//! Compresses the page's files once, at build time: the binary carries them as they go over the
//! wire (gzip, RFC 1952), a third of their size, and the daemon needs no compressor. In pure Rust,
//! so that nothing but cargo is needed to build.

use std::path::Path;

#[path = "src/web/openapi.rs"]
mod openapi;

const PAGE: &str = "src/web/page";
/// The control interface's description, and what the web has beside it.
const INTERFACE: &str = "src/control/org.klatsch.Chat.varlink";
const BASE: &str = "src/web/openapi.json";
/// Which functions lie together: a part of a linker script, for GNU's linker and lld.
const ORDER: &str = "cross/order.ld";

fn main() {
    println!("cargo::rerun-if-changed={PAGE}");
    for file in [INTERFACE, BASE, "src/web/openapi.rs"] {
        println!("cargo::rerun-if-changed={file}");
    }
    let out = std::env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let pages = std::fs::read_dir(PAGE).expect("the page's folder is there");
    let keep = |name: &str, bytes: &[u8]| {
        std::fs::write(Path::new(&out).join(format!("{name}.gz")), gzip(bytes)).expect("written");
    };
    for entry in pages {
        let path = entry.expect("a readable folder").path();
        let name = path.file_name().and_then(|n| n.to_str()).expect("a plain name");
        keep(name, &std::fs::read(&path).expect("a readable file"));
    }
    let read = |path| std::fs::read_to_string(path).expect("a readable file");
    let document = openapi::document(&read(INTERFACE), &read(BASE));
    keep("openapi.json", document.to_string().as_bytes());
    link();
}

/// Puts what a node runs until it is idle into one place of the program (cross/order says why), and
/// packs its relocations, which are a tenth of what it has mapped beside its code. Not for a linker
/// that was chosen and reads no such script (gold, mold).
fn link() {
    println!("cargo::rerun-if-changed={ORDER}");
    let set = |name| std::env::var(name).unwrap_or_default();
    let flags = set("CARGO_ENCODED_RUSTFLAGS");
    let reads = |flag: &str| {
        let chosen = flag.contains("fuse-ld=") || flag.contains("ld-path=");
        !chosen || flag.ends_with("ld=lld") || flag.ends_with("ld=bfd")
    };
    if set("PROFILE") == "release"
        && set("CARGO_CFG_TARGET_OS") == "linux"
        && flags.split('\u{1f}').all(reads)
    {
        let here = set("CARGO_MANIFEST_DIR");
        println!("cargo::rustc-link-arg-bin=klatsch=-T{here}/{ORDER}");
        if set("HOST") == set("TARGET") && unpacks() {
            println!("cargo::rustc-link-arg-bin=klatsch=-Wl,-z,pack-relative-relocs");
        }
    }
}

/// Whether this machine's C library unpacks relocations: glibc does from 2.36 on.
fn unpacks() -> bool {
    let asked = std::process::Command::new("getconf").arg("GNU_LIBC_VERSION").output();
    let said = asked.map(|out| String::from_utf8_lossy(&out.stdout).into_owned());
    let minor = said.ok().and_then(|s| s.trim().strip_prefix("glibc 2.")?.parse().ok());
    minor.is_some_and(|minor: u32| minor >= 36)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    // deflate, no flags, no time (the same bytes each time), best compression, unknown system
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255];
    out.extend(miniz_oxide::deflate::compress_to_vec(bytes, 10));
    out.extend(crc32(bytes).to_le_bytes());
    out.extend((bytes.len() as u32).to_le_bytes());
    out
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & 0u32.wrapping_sub(crc & 1));
        }
    }
    !crc
}
