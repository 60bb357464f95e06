//! The page as the operator at the line meets it: its address as a code to be photographed, and a
//! box that serves none.

use std::net::{TcpListener, TcpStream};

use klatsch::model::Handle;
use qrcodegen::{QrCode, QrCodeEcc};

use crate::cable::Chatbox;

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn status(there: &Chatbox) -> serde_json::Value {
    let out = there.klatsch().args(["status", "--json"]).output().unwrap();
    serde_json::from_slice(&out.stdout).unwrap()
}

fn answers(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// The dark modules that rows of half blocks show, light on a dark ground, without the border.
fn modules(rows: &[&str]) -> Vec<Vec<bool>> {
    let mut all = Vec::new();
    for row in rows {
        let light = |upper: bool| {
            let lit = move |c: char| match c {
                '█' => true,
                '▀' => upper,
                '▄' => !upper,
                _ => false,
            };
            row.chars().map(move |c| !lit(c)).collect::<Vec<bool>>()
        };
        all.extend([light(true), light(false)]);
    }
    all
}

#[test]
fn the_pages_address_stands_on_the_line_as_a_code_that_a_phone_reads() {
    let port = free_port();
    let mut there = Chatbox::new("", &format!("[web]\nport = {port}"));
    let cable = there.plug();
    there.starts();
    cable.at_the_prompt("kiosk>");
    let page = status(&there)["page"].as_str().unwrap().to_owned();
    assert!(page.starts_with("http://") && page.contains(&port.to_string()), "{page}");
    cable.types("qr\r");
    cable.sees(&page);
    cable.at_the_prompt("kiosk>");
    let rows = cable.rows();
    let code: Vec<&str> =
        rows.iter().map(String::as_str).filter(|r| r.contains(['█', '▀', '▄'])).collect();
    let wanted = QrCode::encode_text(&page, QrCodeEcc::Low).unwrap();
    let (seen, side) = (modules(&code), usize::try_from(wanted.size()).unwrap());
    let dark = |x: usize, y: usize| seen.get(y).and_then(|row| row.get(x)).is_none_or(|d| *d);
    let border = 2;
    for y in 0..side + 2 * border {
        for x in 0..side + 2 * border {
            let within = |n: usize| (border..side + border).contains(&n);
            let want = within(x)
                && within(y)
                && wanted.get_module((x - border) as i32, (y - border) as i32);
            assert_eq!(dark(x, y), want, "module {x},{y} of {code:#?}");
        }
    }
    assert!(code.len() <= 20 && rows.len() <= 24, "it fits a terminal of 24 rows");
    let cli = there.klatsch().arg("qr").output().unwrap();
    let printed = String::from_utf8(cli.stdout).unwrap();
    assert!(cli.status.success() && printed.ends_with(&format!("{page}\n")));
    let same = printed.lines().filter(|l| l.contains('█')).map(str::trim_end);
    assert!(same.eq(code.iter().copied().filter(|l| l.contains('█'))), "{printed}");
}

#[test]
fn a_box_without_the_page_listens_nowhere_for_it_and_says_so() {
    let port = free_port();
    let mut with = Chatbox::new("", &format!("[web]\nport = {port}"));
    with.starts();
    assert!(status(&with)["page"].as_str().unwrap().contains(&port.to_string()));
    assert!(answers(port), "with the page somebody listens there");
    assert!(with.ends());
    assert!(!answers(port));

    let mut there = Chatbox::new("", &format!("[web]\nenabled = false\nport = {port}"));
    let cable = there.plug();
    there.starts();
    cable.at_the_prompt("kiosk>");
    let tried = port..port.saturating_add(16);
    let open: Vec<u16> = tried.filter(|port| answers(*port)).collect();
    assert_eq!(open, [0_u16; 0], "nor at the ports that are tried next");
    assert_eq!(status(&there)["page"], "");
    cable.types("qr\r");
    cable.sees("the page is not served: web.enabled");
    let cli = there.klatsch().arg("qr").output().unwrap();
    assert_eq!(cli.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&cli.stdout).contains("web.enabled"));
    // the chat goes on without it, also for who was added as a guest by hand
    let guest = Handle::try_from("guest").unwrap();
    let added = there.klatsch().args(["user", "add", guest.as_str()]).output().unwrap();
    assert!(added.status.success(), "{added:?}");
    assert!(there.ends());
}
