//! Pure parts of HTTP: what a head says, read strictly.

use std::net::IpAddr;

use hyper::header::{HeaderMap, HeaderValue};

/// The host and port of a `Host` line or of an origin's authority; `None`: it is neither.
pub fn authority(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, rest.strip_prefix(':').or_else(|| rest.is_empty().then_some("")))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, Some("")),
        },
    };
    let port = match port? {
        "" => None,
        port => Some(port.parse().ok()?),
    };
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':');
    (!host.is_empty() && host.len() <= 253 && host.bytes().all(plain)).then_some((host, port))
}

/// Whether a `Host` is us. A page elsewhere can point its own name at our address (DNS
/// rebinding), but it cannot make a browser call us by an address, by `localhost`, or by a name
/// that is ours.
pub fn is_our_host(host: &str, names: &[String]) -> bool {
    host.parse::<IpAddr>().is_ok()
        || host == "localhost"
        || names.iter().any(|name| name.eq_ignore_ascii_case(host))
}

/// Whether a `Host` is one that only the LAN gives: an address, a name without a dot, or one that
/// ends with `.local`. For servers whose callers know the host by names that it does not.
pub fn is_lan_host(host: &str) -> bool {
    !host.contains('.') || host.ends_with(".local") || host.parse::<IpAddr>().is_ok()
}

/// Which pages of this host may have a browser ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// Those served at the port that is asked.
    Same,
    /// Those at any of its ports.
    Any,
}

/// Whether a request that changes something comes from a page of ours, or from no page at all.
/// A browser says `Origin` and `Sec-Fetch-Site` by itself; a page cannot change them.
pub fn is_own_origin(headers: &HeaderMap, ports: Ports) -> bool {
    let text = |name: &str| headers.get(name).map(HeaderValue::to_str);
    match text("sec-fetch-site") {
        None | Some(Ok("same-origin" | "none")) => {}
        Some(Ok("same-site")) if ports == Ports::Any => {}
        _ => return false,
    }
    match (text("origin"), text("host")) {
        (None, _) => true,
        (Some(Ok(origin)), Some(Ok(host))) => {
            let origin = origin.split_once("://").map(|(_, rest)| rest).and_then(authority);
            let (Some(origin), Some(host)) = (origin, authority(host)) else { return false };
            origin.0 == host.0 && (ports == Ports::Any || origin.1 == host.1)
        }
        _ => false,
    }
}

/// A cookie's value.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all("cookie").iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(';')).find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name).then_some(value)
    })
}

/// Fields of a query or of a form, `+` and `%` resolved; what is no UTF-8 is replaced. At most
/// [`MAX_FIELDS`].
pub fn fields(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .take(MAX_FIELDS)
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(key, true), decoded(value, true))
        })
        .collect()
}

/// Fields of a form or query that are read.
pub const MAX_FIELDS: usize = 32;

/// A text with `%xx` resolved, and `+` as a blank where it is one.
pub fn decoded(text: &str, plus: bool) -> String {
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).and_then(|b| char::from(*b).to_digit(16));
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 2;
            }
            (b'+', ..) if plus => out.push(b' '),
            _ => out.push(*byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// A text as it may stand in a path's segment.
pub fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(byte.into());
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// What of a file is wanted: the first and last byte, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// All of it.
    Whole,
    /// These.
    Part(u64, u64),
    /// None that it has.
    Unsatisfiable,
}

/// Reads a `Range` line for a file of `size` bytes (RFC 9110, section 14). Several ranges, or what
/// is no range, get all of it, as the RFC allows.
pub fn range(line: Option<&str>, size: u64) -> Range {
    let Some(part) = line.and_then(|l| l.strip_prefix("bytes=")) else { return Range::Whole };
    let Some((first, last)) = part.trim().split_once('-') else { return Range::Whole };
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if digits { Some(text.parse().unwrap_or(u64::MAX)) } else { None }
    };
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first > last => Range::Whole,
        (Some(first), _) if first >= size => Range::Unsatisfiable,
        (Some(first), Some(last)) => Range::Part(first, last.min(size - 1)),
        (Some(first), None) if last.is_empty() => Range::Part(first, size - 1),
        (None, Some(0)) if first.is_empty() => Range::Unsatisfiable,
        (None, Some(_)) if first.is_empty() && size == 0 => Range::Unsatisfiable,
        (None, Some(tail)) if first.is_empty() => Range::Part(size.saturating_sub(tail), size - 1),
        _ => Range::Whole,
    }
}

/// The content type a file is served as: by what its bytes are, never by what somebody says.
/// What browsers could run or do not show is bytes to be saved.
pub fn content_type(format: &str) -> Option<&'static str> {
    Some(match format {
        "png" => "image/png",
        "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "bmp" => "image/bmp",
        _ => return None,
    })
}

/// The longest name of a file that is repeated.
pub const MAX_NAME: usize = 120;

/// A file's name as somebody said it, for people to read: one line, no path, harmless.
pub fn shown_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let mut out = String::new();
    for c in crate::model::text::harmless(last.trim()).chars() {
        if out.len() + c.len_utf8() > MAX_NAME {
            break;
        }
        out.push(if matches!(c, '"' | '<' | '>' | '|' | ':' | '*' | '?') { '_' } else { c });
    }
    let out = out.trim_matches(['.', ' ']).to_owned();
    if out.is_empty() { "file".into() } else { out }
}

/// The line that has a browser save a file under this name (RFC 6266).
pub fn attachment(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || ".-_ ()".contains(c) { c } else { '_' };
    let plain: String = name.chars().map(safe).collect();
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{}", encoded(name))
}

/// A text as it may stand in HTML, between tags and in quoted attributes.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            let name = hyper::header::HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    #[test]
    fn authorities_are_read_strictly() {
        let host = |text| authority(text).map(|(host, port)| format!("{host} {port:?}"));
        assert_eq!(host("Box.local:8484").unwrap(), "box.local Some(8484)");
        assert_eq!(host("10.0.0.1").unwrap(), "10.0.0.1 None");
        assert_eq!(host("[fe80::1]:80").unwrap(), "fe80::1 Some(80)");
        assert_eq!(host("box.").unwrap(), "box None");
        for bad in ["", ":80", "a:b", "a:99999", "[::1", "[x]", "a b", "a/b", "ä", "[::1]x", "a@b"]
        {
            assert_eq!(authority(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_rebound_name_is_not_us() {
        let names = ["klatsch-1a2b".to_owned(), "klatsch-1a2b.local".to_owned()];
        for ours in ["10.0.0.1", "::1", "localhost", "klatsch-1a2b.local", "klatsch-1a2b"] {
            assert!(is_our_host(ours, &names), "{ours}");
        }
        for other in ["evil.example", "10.0.0.1.evil.example", "local", "x.localhost", "box.local"]
        {
            assert!(!is_our_host(other, &names), "{other}");
        }
        for lan in ["10.0.0.1", "::1", "box", "klatsch-1a2b.local"] {
            assert!(is_lan_host(lan), "{lan}");
        }
        assert!(!is_lan_host("evil.example") && !is_lan_host("10.0.0.1.evil.example"));
    }

    #[test]
    fn another_sites_post_is_known_by_what_the_browser_says() {
        let own = |lines: &[(&str, &str)]| is_own_origin(&headers(lines), Ports::Same);
        assert!(own(&[("host", "10.0.0.1:8484")]));
        assert!(own(&[("host", "10.0.0.1:8484"), ("origin", "http://10.0.0.1:8484")]));
        assert!(own(&[
            ("host", "a:1"),
            ("origin", "http://a:1"),
            ("sec-fetch-site", "same-origin")
        ]));
        for origin in ["http://evil.example", "http://10.0.0.1", "null", "http://10.0.0.1:8485", ""]
        {
            assert!(!own(&[("host", "10.0.0.1:8484"), ("origin", origin)]), "{origin}");
        }
        for site in ["cross-site", "same-site", "x"] {
            assert!(!own(&[("host", "a:1"), ("sec-fetch-site", site)]), "{site}");
        }
        let any = |lines: &[(&str, &str)]| is_own_origin(&headers(lines), Ports::Any);
        assert!(any(&[("host", "a:1"), ("origin", "http://a:2"), ("sec-fetch-site", "same-site")]));
        assert!(!any(&[("host", "a:1"), ("origin", "http://b:1")]));
        assert!(!any(&[("host", "a:1"), ("sec-fetch-site", "cross-site")]));
    }

    #[test]
    fn cookies_fields_and_names() {
        let map = headers(&[("cookie", "a=1; klatsch=xyz"), ("cookie", "b=2")]);
        assert_eq!(cookie(&map, "klatsch"), Some("xyz"));
        assert_eq!(cookie(&map, "b"), Some("2"));
        assert_eq!(cookie(&map, "klatsc"), None);
        let pairs = fields("a=1+2&b=%C3%A4%2&c&=&%");
        let expected = [("a", "1 2"), ("b", "ä%2"), ("c", ""), ("", ""), ("%", "")];
        assert_eq!(pairs, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
        assert_eq!(fields(&"a&".repeat(99)).len(), MAX_FIELDS);
        assert_eq!(encoded("a b/ä"), "a%20b%2F%C3%A4");
        assert_eq!(shown_name("../../etc/<passwd>\n"), "_passwd_");
        assert_eq!(shown_name(".."), "file");
        assert_eq!(shown_name("C:\\x\\evil\u{202e}gpj.exe"), "evil\u{fffd}gpj.exe");
        assert!(shown_name(&"ä".repeat(200)).len() <= MAX_NAME);
        assert_eq!(
            attachment("ä\"\r.pdf"),
            "attachment; filename=\"___.pdf\"; filename*=UTF-8''%C3%A4%22%0D.pdf"
        );
        assert_eq!(escaped("<a b='&\">"), "&lt;a b=&#39;&amp;&quot;&gt;");
    }

    #[test]
    fn ranges() {
        let of = |line: &str| range(Some(line), 100);
        assert_eq!(range(None, 100), Range::Whole);
        assert_eq!(of("bytes=0-0"), Range::Part(0, 0));
        assert_eq!(of("bytes=50-"), Range::Part(50, 99));
        assert_eq!(of("bytes=90-900"), Range::Part(90, 99));
        assert_eq!(of("bytes=-10"), Range::Part(90, 99));
        assert_eq!(of("bytes=-1000"), Range::Part(0, 99));
        for none in ["bytes=100-", "bytes=-0", "bytes=99999999999999999999999-"] {
            assert_eq!(of(none), Range::Unsatisfiable, "{none}");
        }
        for odd in ["bytes=5-1", "bytes=0-1,3-4", "lines=1-2", "bytes=", "bytes=-", "bytes=x-y"] {
            assert_eq!(of(odd), Range::Whole, "{odd}");
        }
        assert_eq!(range(Some("bytes=0-"), 0), Range::Unsatisfiable);
        assert_eq!(range(Some("bytes=-5"), 0), Range::Unsatisfiable);
    }
}
