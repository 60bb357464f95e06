//! The table of paths: what a request is for, and with which methods. Pure; who answers it is
//! `site`'s business.

use super::assets::Asset;
use super::{calls, operator, plain};

/// Paths that phones ask for to find out whether there is internet: Android, Apple, Windows,
/// Firefox, in that order.
const PROBES: &[&str] = &[
    "/generate_204",
    "/gen_204",
    "/hotspot-detect.html",
    "/library/test/success.html",
    "/connecttest.txt",
    "/ncsi.txt",
    "/redirect",
    "/success.txt",
    "/canonical.html",
];

/// Whether a phone asks so whether there is internet.
pub(super) fn is_probe(path: &str) -> bool {
    PROBES.contains(&path)
}

/// What a path leads to.
#[derive(Clone, Copy)]
pub enum Route<'a> {
    /// A file of the page.
    Asset(&'static Asset),
    /// `/healthz`.
    Health,
    /// `/metrics`.
    Metrics,
    /// The QR code.
    Code,
    /// The address.
    Address,
    /// The guest's own coming and going.
    Session,
    /// The stream of events.
    Events,
    /// A new upload.
    Uploads,
    /// One under way.
    Upload(&'a str),
    /// An entry's file; of a folder all, or one by its path in it.
    File(&'a str, Option<&'a str>),
    /// A download address.
    Link(&'a str),
    /// Something of the operator's.
    Operator(operator::What<'a>),
    /// The page without scripts.
    Plain(plain::What),
    /// A method of the control interface.
    Call(&'a str),
    /// Nothing.
    Nowhere,
}

impl PartialEq for Route<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl<'a> Route<'a> {
    /// The route of a path.
    pub fn of(path: &'a str) -> Route<'a> {
        if let Some(asset) = Asset::at(path) {
            return Route::Asset(asset);
        }
        if let Some(rest) = path.strip_prefix("/api/v1/") {
            let mut parts = rest.splitn(3, '/');
            return match (parts.next().unwrap_or_default(), parts.next(), parts.next()) {
                ("address", None, None) => Route::Address,
                ("session", None, None) => Route::Session,
                ("events", None, None) => Route::Events,
                ("uploads", None, None) => Route::Uploads,
                ("uploads", Some(id), None) => Route::Upload(id),
                ("files", Some(id), within) => Route::File(id, within),
                ("operator", None, None) => Route::Operator(operator::What::Door),
                ("guests", None, None) => Route::Operator(operator::What::Guests),
                ("guests", Some(id), None) => Route::Operator(operator::What::Guest(id)),
                ("bans", Some(ip), None) => Route::Operator(operator::What::Ban(ip)),
                ("update", None, None) => Route::Operator(operator::What::Update),
                ("transfers", None, None) => Route::Operator(operator::What::Transfers),
                ("transfers", Some(id), None) => Route::Operator(operator::What::Transfer(id)),
                ("restart", None, None) => Route::Operator(operator::What::Restart),
                (method, None, None) if calls::is_method(method) => Route::Call(method),
                _ => Route::Nowhere,
            };
        }
        match path {
            "/healthz" => Route::Health,
            "/metrics" => Route::Metrics,
            "/qr.svg" => Route::Code,
            _ => match path.strip_prefix("/d/") {
                Some(rest) => Route::Link(rest.split('/').next().unwrap_or_default()),
                None => plain::What::of(path).map_or(Route::Nowhere, Route::Plain),
            },
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Route::Asset(_) => "asset",
            Route::Health => "health",
            Route::Metrics => "metrics",
            Route::Code => "code",
            Route::Address => "address",
            Route::Session => "session",
            Route::Events => "events",
            Route::Uploads => "uploads",
            Route::Upload(_) => "upload",
            Route::File(..) => "file",
            Route::Link(_) => "link",
            Route::Operator(_) => "operator",
            Route::Plain(_) => "plain",
            Route::Call(_) => "call",
            Route::Nowhere => "nowhere",
        }
    }

    /// Methods it takes; HEAD goes with GET.
    pub fn methods(&self) -> &'static [&'static str] {
        match self {
            Route::Session => &["GET", "POST", "DELETE"],
            Route::Uploads => &["POST"],
            Route::Upload(_) => &["GET", "PATCH", "DELETE"],
            Route::Operator(what) => what.methods(),
            Route::Plain(what) => what.methods(),
            Route::Call(method) => calls::http_methods(method),
            _ => &["GET"],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_its_route_and_methods() {
        for (path, name, methods) in [
            ("/", "asset", "GET"),
            ("/app.js", "asset", "GET"),
            ("/operator", "asset", "GET"),
            ("/api/v1/openapi.json", "asset", "GET"),
            ("/healthz", "health", "GET"),
            ("/metrics", "metrics", "GET"),
            ("/qr.svg", "code", "GET"),
            ("/plain", "plain", "GET"),
            ("/plain/send", "plain", "POST"),
            ("/plain/file", "plain", "POST"),
            ("/d/0123/a.pdf", "link", "GET"),
            ("/api/v1/address", "address", "GET"),
            ("/api/v1/session", "session", "GET POST DELETE"),
            ("/api/v1/events", "events", "GET"),
            ("/api/v1/uploads", "uploads", "POST"),
            ("/api/v1/uploads/x", "upload", "GET PATCH DELETE"),
            ("/api/v1/files/x-1", "file", "GET"),
            ("/api/v1/files/x-1/a/b%20c.txt", "file", "GET"),
            ("/api/v1/operator", "operator", "GET POST DELETE"),
            ("/api/v1/guests", "operator", "GET"),
            ("/api/v1/guests/x", "operator", "POST"),
            ("/api/v1/bans/10.0.0.1", "operator", "DELETE"),
            ("/api/v1/restart", "operator", "POST"),
            ("/api/v1/update", "operator", "POST"),
            ("/api/v1/transfers", "operator", "GET"),
            ("/api/v1/transfers/d3", "operator", "DELETE"),
            ("/api/v1/Send", "call", "POST"),
            ("/api/v1/Who", "call", "GET POST"),
        ] {
            let route = Route::of(path);
            assert_eq!((route.name(), route.methods().join(" ")), (name, methods.into()), "{path}");
        }
        for path in [
            "",
            "/x",
            "/api",
            "/api/v1/",
            "/api/v1/send",
            "/api/v1/Subscribe",
            "/api/v1/Send/x",
            "/index.html",
            "/../etc/passwd",
            "/api/v1/files",
            "//",
        ] {
            assert_eq!(Route::of(path).name(), "nowhere", "{path}");
        }
    }
}
