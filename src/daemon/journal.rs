//! What the log holds: lines with fields in systemd's journal, plain lines elsewhere.
//!
//! A service's stderr is the journal, which takes text from it and nothing else. So that people
//! can ask for `KLATSCH_EVENT=peer-joined`, records go by the journal's own protocol instead
//! (systemd.io/JOURNAL_NATIVE_PROTOCOL): one datagram of `NAME=value` lines each.
//!
//! Events are logged here and nowhere else, each once. What people do is logged at `debug`, what
//! they write and receive at no level.

use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;

use log::kv::{Error, Key, Value, VisitSource};
use log::{Level, Log, Metadata, Record};

use crate::model::{Event, What};

/// Longest value of a field, in bytes; the rest of it is left out.
pub const MAX_VALUE: usize = 1_024;

const SOCKET: &str = "/run/systemd/journal/socket";

/// Where records go: to the journal with their fields where stderr is the journal, else as
/// `plain` has them.
pub(super) fn sink(plain: env_logger::Logger) -> Box<dyn Log> {
    match stderr_is_the_journal().then(|| connect(SOCKET)) {
        Some(Ok(socket)) => Box::new(Journal { plain, socket }),
        _ => Box::new(plain),
    }
}

/// One event, once.
pub(super) fn event(event: &Event) {
    let user = event.user.as_ref().map_or("", |user| user.as_str());
    match &event.what {
        What::Error { text } => log::warn!(event = "error", user; "{text}"),
        What::Config { key, .. } => {
            log::info!(event = "config", user, setting = key; "setting {key} has another value");
        }
        What::PeerJoined { peer, handle, dialect, address, port } => {
            log::debug!(event = "peer-joined", user, peer:%, handle, dialect:%, address, port; "{handle} is here");
        }
        What::PeerLeft { peer, handle, dialect, reason } => {
            log::debug!(event = "peer-left", user, peer:%, handle, dialect:%, reason; "{handle} left");
        }
        What::PeerAway { peer, handle, dialect } => {
            log::debug!(event = "peer-away", user, peer:%, handle, dialect:%; "{handle} is away");
        }
        What::PeerBack { peer, handle, dialect } => {
            log::debug!(event = "peer-back", user, peer:%, handle, dialect:%; "{handle} is back");
        }
        What::PeerRenamed { peer, handle, old, dialect } => {
            log::debug!(event = "peer-renamed", user, peer:%, handle, old, dialect:%; "{old} is {handle} now");
        }
        What::Session { peer, handle, dialect, stands } => {
            log::debug!(event = "session", user, peer:%, handle, dialect:%, stands; "a session");
        }
        What::Chat { peer, handle, dialect, state, reason, .. } => {
            let reason = reason.as_deref().unwrap_or_default();
            log::debug!(event = "chat", user, peer:%, handle, dialect:%, state:?, reason; "a private chat");
        }
        What::Message { id, peer, dialect, direction, .. } => {
            log::debug!(event = "message", user, id:%, peer:%, dialect:%, direction:?; "a message");
        }
        What::Image { id, peer, dialect, direction, size, format, .. } => {
            log::debug!(event = "image", user, id:%, peer:%, dialect:%, direction:?, size, format; "an image");
        }
        What::Delivery { id, peer, state, reason, .. } => {
            let reason = reason.as_deref().unwrap_or_default();
            log::debug!(event = "delivery", user, id:%, peer:%, state:?, reason; "a delivery");
        }
        What::Transfer { id, peer, direction, done, state, reason, .. } => {
            let reason = reason.as_deref().unwrap_or_default();
            log::debug!(event = "transfer", user, id:%, peer:%, direction:?, done, state:?, reason; "a transfer");
        }
        What::Gap(_) => {}
    }
}

struct Journal {
    /// Says what is logged; does it where the journal does not take it.
    plain: env_logger::Logger,
    socket: UnixDatagram,
}

impl Log for Journal {
    fn enabled(&self, metadata: &Metadata) -> bool {
        self.plain.enabled(metadata)
    }

    fn log(&self, record: &Record) {
        if !self.plain.matches(record) {
            return;
        }
        // Without waiting: a journal that is stuck holds up nobody.
        if self.socket.send(&datagram(record)).is_err() {
            self.plain.log(record);
        }
    }

    fn flush(&self) {}
}

/// As the journal takes it.
fn datagram(record: &Record) -> Vec<u8> {
    // syslog's numbers, as the journal has them
    let priority = match record.level() {
        Level::Error => "3",
        Level::Warn => "4",
        Level::Info => "6",
        Level::Debug | Level::Trace => "7",
    };
    let mut fields = Fields(Vec::new());
    fields.push("MESSAGE", &record.args().to_string());
    fields.push("PRIORITY", priority);
    fields.push("SYSLOG_IDENTIFIER", "klatsch");
    fields.push("KLATSCH_MODULE", record.target());
    // its visitor gives no error
    let _ = record.key_values().visit(&mut fields);
    fields.0
}

struct Fields(Vec<u8>);

impl Fields {
    fn push(&mut self, name: &str, value: &str) {
        let value = &value[..value.floor_char_boundary_at(MAX_VALUE)];
        self.0.extend_from_slice(name.as_bytes());
        if value.contains('\n') {
            // such a value's length goes before it
            self.0.push(b'\n');
            self.0.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            self.0.push(b'=');
        }
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(b'\n');
    }
}

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        let value = value.to_string();
        if !value.is_empty() {
            self.push(&format!("KLATSCH_{}", key.as_str().to_ascii_uppercase()), &value);
        }
        Ok(())
    }
}

trait Floor {
    fn floor_char_boundary_at(&self, most: usize) -> usize;
}

impl Floor for str {
    /// The end of the last whole character within `most` bytes (std's is newer than Rust 1.85).
    fn floor_char_boundary_at(&self, most: usize) -> usize {
        (0..=most.min(self.len())).rev().find(|n| self.is_char_boundary(*n)).unwrap_or(0)
    }
}

fn connect(path: &str) -> std::io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Whether stderr is the very stream that `$JOURNAL_STREAM` names (systemd.exec(5)).
fn stderr_is_the_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(stat) = nix::sys::stat::fstat(std::io::stderr().as_fd()) else { return false };
    stream == format!("{}:{}", stat.st_dev, stat.st_ino)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(message: &str, pairs: &[(&str, &str)]) -> Vec<u8> {
        datagram(
            &Record::builder()
                .level(Level::Warn)
                .target("klatsch::x")
                .args(format_args!("{message}"))
                .key_values(&pairs)
                .build(),
        )
    }

    #[test]
    fn a_record_is_a_datagram_of_fields() {
        let bytes = written("port 4000 is taken", &[("event", "error"), ("user", "")]);
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "MESSAGE=port 4000 is taken\nPRIORITY=4\nSYSLOG_IDENTIFIER=klatsch\n\
             KLATSCH_MODULE=klatsch::x\nKLATSCH_EVENT=error\n"
        );
    }

    #[test]
    fn a_line_end_within_a_value_forges_no_field() {
        let bytes = written("a\nPRIORITY=0", &[]);
        assert!(bytes.starts_with(b"MESSAGE\n\x0c\0\0\0\0\0\0\0a\nPRIORITY=0\nPRIORITY=4\n"));
    }

    #[test]
    fn one_byte_past_the_limit_is_left_out() {
        let long = "ü".repeat(MAX_VALUE / 2) + "x";
        let bytes = written(&long, &[]);
        let line = bytes.split(|b| *b == b'\n').next().unwrap();
        assert_eq!(line.len(), "MESSAGE=".len() + MAX_VALUE);
        assert_eq!("aü".floor_char_boundary_at(2), 1);
    }
}
