//! QR codes of an address: as a picture for the page, as characters for a terminal.

use qrcodegen::{QrCode, QrCodeEcc};

/// The blank border that readers need, in modules.
const BORDER: i32 = 4;
/// The border in a terminal, whose own ground is wide enough around it.
const NARROW: i32 = 2;

/// A picture; `None`: the text is too long.
pub fn svg(text: &str) -> Option<String> {
    let code = QrCode::encode_text(text, QrCodeEcc::Medium).ok()?;
    let side = code.size() + 2 * BORDER;
    let mut path = String::new();
    for y in 0..code.size() {
        for x in (0..code.size()).filter(|x| code.get_module(*x, y)) {
            path.push_str(&format!("M{},{}h1v1h-1z", x + BORDER, y + BORDER));
        }
    }
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" \
         shape-rendering=\"crispEdges\"><rect width=\"{side}\" height=\"{side}\" fill=\"#fff\"/>\
         <path d=\"{path}\"/></svg>"
    ))
}

/// Lines for a terminal, two modules in the height of a character: light on dark, so that a dark
/// terminal shows a code as readers expect it, inverted where the ground is light. `None`: the
/// text is too long.
pub fn lines(text: &str) -> Option<Vec<String>> {
    let code = QrCode::encode_text(text, QrCodeEcc::Low).ok()?;
    let light = |x: i32, y: i32| !code.get_module(x, y);
    let range = || -NARROW..code.size() + NARROW;
    let line = |y: i32| {
        range()
            .map(|x| match (light(x, y), light(x, y + 1) && y + 1 < code.size() + NARROW) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            })
            .collect()
    };
    Some(range().step_by(2).map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_fits_a_small_terminal_and_a_long_text_none() {
        let lines = lines("http://192.168.100.200:8484/").unwrap();
        assert!(lines.len() <= 16, "{}", lines.len());
        assert!(lines.iter().all(|line| line.chars().count() == lines[0].chars().count()));
        assert!(lines[0].chars().all(|c| c == '█'), "the border");
        assert!(svg(&"x".repeat(4_000)).is_none());
        assert!(svg("http://a/").unwrap().contains("h1v1h-1z"));
    }
}
