//! `[[serial]]`: the lines that have a console, and the table of what can be said of each.
//!
//! Apart from `rows` because these belong to one line, not to the node: `CONFIG` does not show
//! them, so that a PIN is not shown either.

use std::path::{Path, PathBuf};

use crate::model::Refusal;

/// Lines that may have a console.
pub const MAX_SERIAL: usize = 8;
/// Seconds without a key after which the PIN is asked again: the least and the most.
pub const IDLE: std::ops::RangeInclusive<u32> = 10..=86_400;
/// Characters of a PIN: the least and the most.
pub const PIN: std::ops::RangeInclusive<usize> = 4..=64;
/// Columns that may be set: what the editor can draw on.
pub const WIDTH: std::ops::RangeInclusive<u16> = 16..=1_000;

/// The speeds that termios(3) has, in bits per second.
pub const SPEEDS: [u32; 30] = [
    50, 75, 110, 134, 150, 200, 300, 600, 1_200, 1_800, 2_400, 4_800, 9_600, 19_200, 38_400,
    57_600, 115_200, 230_400, 460_800, 500_000, 576_000, 921_600, 1_000_000, 1_152_000, 1_500_000,
    2_000_000, 2_500_000, 3_000_000, 3_500_000, 4_000_000,
];

/// A console on a serial line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serial {
    /// The device, absolute: `/dev/ttyAMA0`.
    pub device: PathBuf,
    /// On or off.
    pub on: bool,
    /// Bits per second, one of [`SPEEDS`]. A USB gadget ignores it, save that output is paced so.
    pub speed: u32,
    /// The local user it speaks for; none: the first.
    pub user: Option<String>,
    /// Whether it may do what is the operator's.
    pub operator: bool,
    /// Flow control.
    pub flow: Flow,
    /// What is spoken on it at first.
    pub mode: Mode,
    /// What is asked before [`Serial::lock`] opens.
    pub pin: Option<Pin>,
    /// What the PIN is for.
    pub lock: Scope,
    /// Seconds without a key after which the PIN is asked again.
    pub idle: u32,
    /// Columns of the terminal; 0: 80.
    pub width: u16,
    /// With colours.
    pub colour: bool,
    /// The terminal understands carriage return and nothing more.
    pub dumb: bool,
    /// No console: the line is left to a login prompt.
    pub login: bool,
}

/// Flow control of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// None: three wires.
    None,
    /// RTS and CTS.
    Hardware,
    /// XON and XOFF: Ctrl-S holds the output, Ctrl-Q lets it go on.
    Software,
}

/// What is spoken on a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The console for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// What a PIN is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// For what is the operator's; the chat needs none.
    Operator,
    /// For everything: nothing is shown before it.
    Console,
}

/// A PIN, as it stands in the file. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Pin(pub String);

impl std::fmt::Debug for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pin(…)")
    }
}

impl Serial {
    /// A console on `device`, everything else as it is by default.
    pub fn on(device: &Path) -> Serial {
        Serial {
            device: device.into(),
            on: true,
            speed: 115_200,
            user: None,
            operator: true,
            flow: Flow::None,
            mode: Mode::Text,
            pin: None,
            lock: Scope::Operator,
            idle: 600,
            width: 0,
            colour: false,
            dumb: false,
            login: false,
        }
    }

    /// What a key's value must be; none: there is no such key.
    pub fn expected(key: &str) -> Option<&'static str> {
        KEYS.iter().find(|(k, ..)| k.eq_ignore_ascii_case(key)).map(|(_, expected, _)| *expected)
    }

    /// Sets a key; the error says what was expected, or that there is no such key.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), Refusal> {
        let Some((key, expected, set)) = KEYS.iter().find(|(k, ..)| k.eq_ignore_ascii_case(key))
        else {
            let keys: Vec<&str> = KEYS.iter().map(|(key, ..)| *key).collect();
            return Err(Refusal::bad("serial", key, format!("one of {}", keys.join(", "))));
        };
        // a PIN is not repeated in a log
        let shown = if *key == "pin" { "one that does not do" } else { value };
        set(self, value.trim()).ok_or_else(|| Refusal::bad(key, shown, *expected))
    }
}

type Set = fn(&mut Serial, &str) -> Option<()>;

const SWITCH: &str = "true or false";

/// Every key with what it expects.
const KEYS: &[(&str, &str, Set)] = &[
    ("device", "a device such as /dev/ttyAMA0", |s, v| {
        let path = Path::new(v);
        let device = path.is_absolute() && !v.contains('\0');
        device.then(|| s.device = path.components().collect())
    }),
    ("on", SWITCH, |s, v| switch(v).map(|on| s.on = on)),
    ("speed", "a standard speed such as 9600 or 115200", |s, v| {
        s.speed = v.parse().ok().filter(|speed| SPEEDS.contains(speed))?;
        Some(())
    }),
    ("user", "a handle of one of the node's users", |s, v| {
        s.user = Some(v.to_owned()).filter(|user| !user.is_empty());
        Some(())
    }),
    ("operator", SWITCH, |s, v| switch(v).map(|on| s.operator = on)),
    ("flow", "none, hardware or software", |s, v| {
        s.flow = match v.to_ascii_lowercase().as_str() {
            "none" => Flow::None,
            "hardware" => Flow::Hardware,
            "software" => Flow::Software,
            _ => return None,
        };
        Some(())
    }),
    ("mode", "text or json", |s, v| {
        s.mode = match v.to_ascii_lowercase().as_str() {
            "text" => Mode::Text,
            "json" => Mode::Json,
            _ => return None,
        };
        Some(())
    }),
    ("pin", "4 to 64 characters without blanks at the ends; empty for none", |s, v| {
        let long = v.chars().count();
        if long > 0 && (!PIN.contains(&long) || v.chars().any(char::is_control)) {
            return None;
        }
        s.pin = (long > 0).then(|| Pin(v.to_owned()));
        Some(())
    }),
    ("lock", "operator or console", |s, v| {
        s.lock = match v.to_ascii_lowercase().as_str() {
            "operator" => Scope::Operator,
            "console" => Scope::Console,
            _ => return None,
        };
        Some(())
    }),
    ("idle", "10 to 86400 seconds", |s, v| {
        s.idle = v.parse().ok().filter(|n| IDLE.contains(n))?;
        Some(())
    }),
    ("width", "16 to 1000 columns, or 0 for 80", |s, v| {
        s.width = v.parse().ok().filter(|n| *n == 0 || WIDTH.contains(n))?;
        Some(())
    }),
    ("colour", SWITCH, |s, v| switch(v).map(|on| s.colour = on)),
    ("dumb", SWITCH, |s, v| switch(v).map(|on| s.dumb = on)),
    ("login", SWITCH, |s, v| switch(v).map(|on| s.login = on)),
];

fn switch(value: &str) -> Option<bool> {
    super::rows::switch(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_one_past_their_bounds_change_nothing() {
        for (key, good, bad) in [
            ("device", "/dev/ttyS0", "ttyS0"),
            ("speed", "115200", "115201"),
            ("speed", "4000000", "4000001"),
            ("idle", "10", "9"),
            ("idle", "86400", "86401"),
            ("width", "16", "15"),
            ("width", "1000", "1001"),
            ("pin", "1234", "123"),
            ("flow", "Hardware", "some"),
            ("mode", "JSON", "xml"),
            ("lock", "console", "door"),
            ("operator", "no", "perhaps"),
        ] {
            let mut line = Serial::on(Path::new("/dev/ttyAMA0"));
            line.set(key, good).unwrap();
            let before = line.clone();
            assert!(line.set(key, bad).is_err(), "{key} {bad}");
            assert_eq!(line, before, "{key} {bad}");
        }
        let mut line = Serial::on(Path::new("/dev/ttyAMA0"));
        line.set("pin", &"x".repeat(*PIN.end())).unwrap();
        assert!(line.set("pin", &"x".repeat(*PIN.end() + 1)).is_err());
        line.set("pin", "").unwrap();
        assert_eq!(line.pin, None);
        let refusal = line.set("spede", "9600").unwrap_err().to_string();
        assert!(refusal.contains("spede") && refusal.contains("speed"), "{refusal}");
    }

    #[test]
    fn a_pin_is_neither_printed_nor_repeated() {
        let mut line = Serial::on(Path::new("/dev/ttyAMA0"));
        line.set("pin", "471199").unwrap();
        assert!(!format!("{line:?}").contains("471199"));
        assert!(!line.set("pin", "123").unwrap_err().to_string().contains("123"));
    }

    #[test]
    fn every_speed_is_one_that_termios_has() {
        assert!(SPEEDS.is_sorted() && SPEEDS.contains(&Serial::on(Path::new("/x")).speed));
    }
}
