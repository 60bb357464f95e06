//! Who holds a port: looked up in /proc when a bind fails, for the line that says so.

use std::fs;

/// Which table of /proc/net.
#[derive(Clone, Copy)]
pub enum Proto {
    /// UDP over IPv4 and IPv6.
    Udp,
    /// TCP over IPv4 and IPv6.
    Tcp,
}

/// The program that holds a local port, as `python3 (1234)`; `None` if it cannot be known, as
/// with another user's.
pub fn holder(proto: Proto, port: u16) -> Option<String> {
    let tables = match proto {
        Proto::Udp => ["/proc/net/udp", "/proc/net/udp6"],
        Proto::Tcp => ["/proc/net/tcp", "/proc/net/tcp6"],
    };
    let inodes: Vec<String> = tables
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|text| inodes(&text, port, matches!(proto, Proto::Tcp)))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    if inodes.is_empty() {
        return None;
    }
    let own = std::process::id().to_string();
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let pid = process.file_name().into_string().unwrap_or_default();
        if !pid.bytes().all(|b| b.is_ascii_digit()) || pid == own {
            continue;
        }
        let Ok(fds) = fs::read_dir(process.path().join("fd")) else { continue };
        let holds = fds.flatten().any(|fd| {
            fs::read_link(fd.path())
                .is_ok_and(|to| inodes.iter().any(|i| to.as_os_str() == i.as_str()))
        });
        if holds {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("{} ({pid})", crate::model::text::harmless(name.trim())));
        }
    }
    None
}

/// The inodes of sockets on a port, from a table of proc(5): `sl local_address rem_address st …
/// inode`. Of TCP only listeners (state 0A).
fn inodes(table: &str, port: u16, listening: bool) -> Vec<String> {
    table.lines().skip(1).filter_map(|line| inode(line, port, listening)).collect()
}

fn inode(line: &str, port: u16, listening: bool) -> Option<String> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let local = fields.get(1)?.rsplit_once(':')?.1;
    let here = u16::from_str_radix(local, 16).ok()? == port;
    let counts = here && (!listening || *fields.get(3)? == "0A");
    fields.get(9).filter(|_| counts).map(|inode| (*inode).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_found_in_the_kernels_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
                     100: 00000000:0FA0 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 31337 2 0 0\n\
                     101: 0100007F:1392 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 4711 2 0 0\n";
        assert_eq!(inodes(table, 4000, false), ["31337"]);
        assert_eq!(inodes(table, 5010, false), ["4711"]);
        assert_eq!(inodes(table, 4000, true), Vec::<String>::new());
        assert_eq!(inodes("junk\nmore junk", 4000, false), Vec::<String>::new());
    }
}
