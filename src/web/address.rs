//! Where the door is: the address that others open the page at, as text and as a code to be scanned.

use std::net::IpAddr;

use hyper::StatusCode;
use serde_json::json;

use super::http::authority;
use super::reply::{self, Reply};
use super::site::{Head, Site};
use super::{door, qr};

/// An address of the page that other machines can open: as this one calls us, if that is no name
/// of its own machine; else the one it reached us at (a phone at a box's access point cannot open
/// the box's address on the Ethernet); else the first of our network addresses.
pub async fn of(site: &Site, head: &Head) -> String {
    let called = head.header("host").and_then(authority);
    if let (Some((host, port)), false) = (called, site.set().captive) {
        let local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if !local {
            return at(&host, port.unwrap_or(80));
        }
    }
    if let Some(own) = head.reached.filter(can_be_opened) {
        return at(&own.to_string(), site.port);
    }
    let links = door::status(site).await.map(|status| status.links).unwrap_or_default();
    let is_far = |ip: &str| ip.parse::<IpAddr>().is_ok_and(|ip| !ip.is_loopback());
    let link = links.iter().find(|link| is_far(&link.address)).or(links.first());
    at(link.map_or("localhost", |link| link.address.as_str()), site.port)
}

/// Whether others can type it: not our own machine's, and none that needs an interface beside it.
fn can_be_opened(own: &IpAddr) -> bool {
    match own {
        IpAddr::V4(own) => !own.is_loopback(),
        IpAddr::V6(own) => !own.is_loopback() && !own.is_unicast_link_local(),
    }
}

/// The address at a host and port, as a person types it.
pub fn at(host: &str, port: u16) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    if port == 80 { format!("http://{host}/") } else { format!("http://{host}:{port}/") }
}

/// `/api/v1/address`.
pub async fn answer(site: &Site, head: &Head) -> Reply {
    reply::good(&json!({"address": of(site, head).await}))
}

/// `/qr.svg`.
pub async fn code(site: &Site, head: &Head) -> Reply {
    match qr::svg(&of(site, head).await) {
        Some(svg) => reply::whole(StatusCode::OK, "image/svg+xml", svg),
        None => reply::wrong(StatusCode::INTERNAL_SERVER_ERROR, "the address is too long"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phone_at_the_access_point_is_led_to_the_address_it_reached() {
        let opens = |own: &str| can_be_opened(&own.parse().unwrap());
        assert!(opens("192.168.84.1") && opens("169.254.7.9") && opens("fd00::1"));
        assert!(!opens("127.0.0.1") && !opens("::1"));
        assert!(!opens("fe80::1"), "no browser takes an interface in an address");
    }

    #[test]
    fn addresses_are_as_people_type_them() {
        assert_eq!(at("10.0.0.1", 8484), "http://10.0.0.1:8484/");
        assert_eq!(at("box.local", 80), "http://box.local/");
        assert_eq!(at("fe80::1", 80), "http://[fe80::1]/");
    }
}
