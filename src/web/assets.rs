//! The page's files, as they go over the wire: compressed at build time, named by their content.

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_ENCODING, ETAG, HeaderMap, HeaderValue, VARY};

use super::reply::{self, Reply};

/// One file.
pub struct Asset {
    /// Under which path.
    pub path: &'static str,
    kind: &'static str,
    gzip: &'static [u8],
}

macro_rules! asset {
    ($path:literal, $file:literal, $kind:literal) => {
        Asset {
            path: $path,
            kind: $kind,
            gzip: include_bytes!(concat!(env!("OUT_DIR"), "/", $file, ".gz")),
        }
    };
}

/// All of them.
pub static ASSETS: &[Asset] = &[
    asset!("/", "index.html", "text/html; charset=utf-8"),
    asset!("/operator", "operator.html", "text/html; charset=utf-8"),
    asset!("/style.css", "style.css", "text/css; charset=utf-8"),
    asset!("/operator.css", "operator.css", "text/css; charset=utf-8"),
    asset!("/app.js", "app.js", "text/javascript; charset=utf-8"),
    asset!("/words.js", "words.js", "text/javascript; charset=utf-8"),
    asset!("/net.js", "net.js", "text/javascript; charset=utf-8"),
    asset!("/view.js", "view.js", "text/javascript; charset=utf-8"),
    asset!("/notice.js", "notice.js", "text/javascript; charset=utf-8"),
    asset!("/sheets.js", "sheets.js", "text/javascript; charset=utf-8"),
    asset!("/operator.js", "operator.js", "text/javascript; charset=utf-8"),
    asset!("/desk.js", "desk.js", "text/javascript; charset=utf-8"),
    asset!("/icon.svg", "icon.svg", "image/svg+xml"),
    asset!("/api/v1/openapi.json", "openapi.json", "application/json"),
];

impl Asset {
    /// The one at a path.
    pub fn at(path: &str) -> Option<&'static Asset> {
        ASSETS.iter().find(|asset| asset.path == path)
    }

    /// Its name by content: the checksum and length that gzip ends with.
    pub fn tag(&self) -> String {
        let tail = &self.gzip[self.gzip.len() - 8..];
        format!("\"{}\"", tail.iter().map(|b| format!("{b:02x}")).collect::<String>())
    }

    /// The answer to who asks for it; nothing but its name to who has it. It is sent compressed
    /// always: there is no browser without gzip.
    pub fn answer(&self, headers: &HeaderMap) -> Reply {
        let tag = self.tag();
        let had = headers.get("if-none-match").and_then(|line| line.to_str().ok());
        let fresh = had
            .is_some_and(|line| line.split(',').any(|t| t.trim().trim_start_matches("W/") == tag));
        let mut reply = if fresh {
            reply::whole(StatusCode::NOT_MODIFIED, self.kind, &b""[..])
        } else {
            reply::whole(StatusCode::OK, self.kind, self.gzip)
        };
        if !fresh {
            reply.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        reply.headers_mut().insert(VARY, HeaderValue::from_static("accept-encoding"));
        // asked for again each time, answered in 200 bytes: an update of the box holds at once
        reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        reply::set(&mut reply, ETAG, &tag);
        reply
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_page_is_below_60_kb_as_it_is_sent() {
        let bytes: usize = ASSETS.iter().map(|asset| asset.gzip.len()).sum();
        assert!(bytes < 60_000, "{bytes}");
    }

    #[test]
    fn who_has_it_gets_its_name_only() {
        for asset in ASSETS {
            let mut headers = HeaderMap::new();
            let reply = asset.answer(&headers);
            assert_eq!(reply.headers()["content-encoding"], "gzip");
            let tag = reply.headers()["etag"].clone();
            headers.insert("if-none-match", tag);
            assert_eq!(asset.answer(&headers).status(), StatusCode::NOT_MODIFIED);
            headers.insert("if-none-match", HeaderValue::from_static("\"other\""));
            assert_eq!(asset.answer(&headers).status(), StatusCode::OK);
        }
    }

    #[test]
    fn an_id_stands_once_in_a_page() {
        let page = |name: &str| {
            let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web/page");
            std::fs::read_to_string(folder.join(name)).unwrap()
        };
        for name in ["index.html", "operator.html"] {
            let text = page(name);
            let mut ids: Vec<_> =
                text.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
            let all = ids.len();
            ids.sort_unstable();
            ids.dedup();
            assert!(all > 10 && ids.len() == all, "{name}: {all} ids, {} of them new", ids.len());
        }
    }

    #[test]
    fn nothing_is_named_that_a_third_party_serves_and_nothing_stands_inline() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web/page");
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let name = path.display();
            for word in ["https://", "//cdn", "@import", "innerHTML", "insertAdjacentHTML", "eval("]
            {
                assert!(!text.contains(word), "{name}: {word}");
            }
            let svg = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!svg.contains("http://"), "{name}");
            if name.to_string().ends_with(".html") {
                for word in [" style=", " onclick=", "<style", "javascript:"] {
                    assert!(!text.contains(word), "{name}: {word}");
                }
            }
        }
    }
}
