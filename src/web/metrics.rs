//! `/metrics`: figures in the text form that Prometheus reads. Off by default: who is here and how
//! much is said is nobody's business who does not ask the operator.

use std::fmt::Write;
use std::rc::Rc;

use hyper::StatusCode;

use super::door;
use super::reply::{self, Reply};
use super::site::Site;

/// The figures, or nothing where they are switched off.
pub async fn answer(site: &Rc<Site>) -> Reply {
    if !site.set().metrics {
        return reply::line(StatusCode::NOT_FOUND, "switched off: web.metrics");
    }
    let status = door::status(site).await;
    let (peers, users, uptime) = status.map_or((0, 0, 0), |s| (s.peers, s.users.len(), s.uptime));
    let (here, known) = {
        let guests = site.guests.borrow();
        (guests.here(), guests.all.len())
    };
    let figures: [(&str, &str, &str, u64); 11] = [
        ("uptime_seconds", "gauge", "since the daemon began", uptime),
        ("peers", "gauge", "people on the LAN, this node's own users aside", peers.into()),
        ("users", "gauge", "users of this node, guests included", users as u64),
        ("guests", "gauge", "guests of the page in the chat", here as u64),
        ("guests_known", "gauge", "guests remembered", known as u64),
        ("events_total", "counter", "events of this run", site.hub.last()),
        (
            "web_requests_total",
            "counter",
            "requests of the page's server",
            site.counts.requests.get(),
        ),
        ("web_refused_total", "counter", "requests refused", site.counts.refused.get()),
        ("web_streams", "gauge", "streams of events open", site.counts.streams.get()),
        ("web_uploaded_bytes_total", "counter", "bytes uploaded", site.counts.uploaded.get()),
        ("web_files_bytes", "gauge", "bytes of uploads kept", site.shelf.borrow().bytes()),
    ];
    let mut text = String::new();
    for (name, kind, help, value) in figures {
        let _ = writeln!(
            text,
            "# HELP klatsch_{name} {help}\n# TYPE klatsch_{name} {kind}\nklatsch_{name} {value}"
        );
    }
    reply::whole(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
}
