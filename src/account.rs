//! The system's users and groups, asked of getent(1). glibc's own calls load what nsswitch.conf(5)
//! names into whoever asks (libnss_systemd and libcap, 300 kB), and it stays for as long as the
//! program runs; a program of its own takes it along when it ends.

use std::process::{Command, Stdio};

/// The number of the group `name`; `None` where there is none, or no getent.
pub fn group(name: &str) -> Option<u32> {
    field(&["group", name], 2)?.parse().ok()
}

/// The name of user `uid`; `None` where there is none, or no getent.
pub fn login(uid: u32) -> Option<String> {
    field(&["passwd", &uid.to_string()], 0)
}

/// A field of the entry that getent prints (passwd(5), group(5)).
fn field(asked: &[&str], at: usize) -> Option<String> {
    let mut getent = Command::new("getent");
    let out = getent.args(asked).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let line = String::from_utf8(out.stdout).ok()?;
    let field = line.lines().next()?.split(':').nth(at)?;
    Some(field.to_owned()).filter(|field| !field.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_who_everybody_has_and_nobody_else() {
        assert_eq!(login(0).as_deref(), Some("root"));
        assert_eq!(group("root"), Some(0));
        assert_eq!(group("no-such-group-here"), None);
        assert_eq!(login(u32::MAX - 7), None);
    }
}
