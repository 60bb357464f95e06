//! The file `factory-reset` on the FAT partition.

/// What is to be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// The PINs of page, operator and console.
    Pins,
    /// All that was set, kept and received, the card's earlier values and the keys.
    Everything,
}

/// What the file says; the error is the line about one that says neither.
pub fn reset(bytes: &[u8]) -> Result<Reset, String> {
    let text = String::from_utf8_lossy(bytes);
    let word = text.trim_start_matches('\u{feff}').trim();
    if word.eq_ignore_ascii_case("pins") || word.eq_ignore_ascii_case("pin") {
        return Ok(Reset::Pins);
    }
    if word.eq_ignore_ascii_case("everything") {
        return Ok(Reset::Everything);
    }
    let found = crate::config::rows::shown(word);
    Err(format!("factory-reset: found {found}, expected the word pins, or the word everything"))
}
