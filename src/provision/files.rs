//! The files that are made of what was accepted: at each start anew, in /run, from where networkd,
//! resolved, timesyncd and our own units read them. Nothing of it outlives the values.
//!
//! Sources: systemd.network(5), timesyncd.conf(5), resolved.conf(5); wpa_supplicant.conf(5);
//! hostapd's own hostapd.conf; authorized_keys in sshd(8).

use std::fmt::Write;

use super::keys::{is_raw, subnet};
use super::{Values, is_setting};

/// klatsch's own layer of settings, below the folder of run time files.
pub const LAYER: &str = crate::config::layers::CARD;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Below the folder of run time files.
    pub path: &'static str,
    /// Who may read it beside root.
    pub read: Readers,
    /// What it holds.
    pub text: String,
}

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Everyone.
    All,
    /// The group klatsch.
    Klatsch,
    /// Nobody.
    Nobody,
}

const WIRED: &str = "systemd/network/70-klatsch-wired.network";
const WIRELESS: &str = "systemd/network/70-klatsch-wireless.network";
const NO_TIME: &str = "systemd/network/80-klatsch.network.d/60-klatsch-time.conf";
const TIME: &str = "systemd/timesyncd.conf.d/60-klatsch.conf";
const RESOLVED: &str = "systemd/resolved.conf.d/60-klatsch.conf";
const CLIENT: &str = "klatsch-box/wpa_supplicant.conf";
const POINT: &str = "klatsch-box/hostapd.conf";
const HOSTS: &str = "klatsch-box/hosts";
const SSH: &str = "klatsch-box/ssh/authorized_keys";

/// Every file that may be there; those that [`outputs`] does not name are to be gone.
pub const FILES: &[&str] =
    &[LAYER, WIRED, WIRELESS, NO_TIME, TIME, RESOLVED, CLIENT, POINT, HOSTS, SSH];

/// The access point's own address where none is set.
const POINT_ADDRESS: &str = "192.168.84.1/24";
/// The channel where none is set: allowed everywhere.
const POINT_CHANNEL: &str = "6";
/// The names that phones and computers ask for to learn whether there is an Internet. An access
/// point's name server says that they are here, and the page answers (`web.captive`).
const PROBES: &[&str] = &[
    "captive.apple.com",
    "connectivitycheck.gstatic.com",
    "connectivitycheck.android.com",
    "clients3.google.com",
    "www.msftconnecttest.com",
    "dns.msftncsi.com",
    "detectportal.firefox.com",
    "nmcheck.gnome.org",
    "network-test.debian.org",
    "connectivity-check.ubuntu.com",
    "klatsch.box",
];

/// What follows from the values.
pub fn outputs(values: &Values) -> Vec<Output> {
    let get = |key: &str| values.get(key).map(String::as_str).filter(|value| !value.is_empty());
    let mut files = Vec::new();
    let mut file = |path, read, text| files.push(Output { path, read, text });
    let wifi = get("wifi.ssid").filter(|_| get("wifi.mode") != Some("off"));
    let point = wifi.is_some() && get("wifi.mode") == Some("access-point");
    file(LAYER, Readers::Klatsch, layer(values, point));
    let no_time = get("time.server") == Some("none");
    if get("network.mode").is_some() || get("network.address").is_some() {
        file(WIRED, Readers::All, wired(&get, no_time));
    } else if no_time {
        file(NO_TIME, Readers::All, NO_TIME_FROM_DHCP.trim_start().into());
    }
    if let Some(servers) = get("time.server") {
        let servers = if no_time { String::new() } else { servers.replace(',', " ") };
        file(TIME, Readers::All, format!("[Time]\nNTP={servers}\nFallbackNTP=\n"));
    }
    if let Some(ssid) = wifi {
        let country = get("wifi.country").unwrap_or_default();
        let key = get("wifi.key").unwrap_or_default();
        if point {
            let address = get("wifi.address").unwrap_or(POINT_ADDRESS);
            let channel = get("wifi.channel").unwrap_or(POINT_CHANNEL);
            let own = subnet(address).map(|(own, _)| own.to_string()).unwrap_or_default();
            file(POINT, Readers::Nobody, hostapd(country, ssid, key, channel));
            file(WIRELESS, Readers::All, access_point(address));
            file(RESOLVED, Readers::All, format!("[Resolve]\nDNSStubListenerExtra={own}\n"));
            file(HOSTS, Readers::All, hosts(&own));
        } else {
            file(CLIENT, Readers::Nobody, wpa_supplicant(country, ssid, key));
            file(WIRELESS, Readers::All, wireless(&get, no_time));
        }
    }
    if let Some(keys) = get("ssh.key") {
        file(SSH, Readers::Nobody, format!("{keys}\n"));
    }
    files
}

/// klatsch's own settings, as a file of them has them.
fn layer(values: &Values, point: bool) -> String {
    let mut text = String::from("# Made of the card's klatsch.toml at each start.\n");
    let mut line = |key: &str, value: &str| {
        let value = toml::Value::String(value.to_owned());
        let _ = writeln!(text, "{key} = {value}");
    };
    if point && !values.contains_key("web.captive") {
        line("web.captive", "on");
    }
    for (key, value) in values {
        if is_setting(key) || key.starts_with("serial.") {
            line(key, value);
        }
    }
    text
}

const NO_TIME_FROM_DHCP: &str = "
[DHCPv4]
UseNTP=no

[DHCPv6]
UseNTP=no
";

fn wired<'a>(get: &impl Fn(&str) -> Option<&'a str>, no_time: bool) -> String {
    let mut text = "[Match]\nName=en* eth*\n\n[Link]\nRequiredForOnline=no\n\n[Network]\n\
                    MulticastDNS=yes\nLLMNR=no\n"
        .to_owned();
    let mode = get("network.mode");
    text += &match get("network.address") {
        Some(address) => fixed(address, get("network.gateway"), get("network.dns")),
        None if mode == Some("link-local") => "DHCP=no\nLinkLocalAddressing=yes\n".into(),
        None => "DHCP=yes\nLinkLocalAddressing=yes\n".into(),
    };
    if no_time {
        text += NO_TIME_FROM_DHCP;
    }
    text
}

fn wireless<'a>(get: &impl Fn(&str) -> Option<&'a str>, no_time: bool) -> String {
    let mut text = "[Match]\nName=wl*\n\n[Link]\nRequiredForOnline=no\n\n\
                    [Network]\nMulticastDNS=yes\nLLMNR=no\nIgnoreCarrierLoss=3s\n"
        .to_owned();
    text += &match get("wifi.address") {
        Some(address) => fixed(address, get("wifi.gateway"), None),
        None => "DHCP=yes\nLinkLocalAddressing=yes\n".into(),
    };
    if no_time {
        text += NO_TIME_FROM_DHCP;
    }
    text
}

fn fixed(address: &str, gateway: Option<&str>, dns: Option<&str>) -> String {
    let mut text = format!("DHCP=no\nLinkLocalAddressing=ipv6\nAddress={address}\n");
    if let Some(gateway) = gateway {
        text += &format!("Gateway={gateway}\n");
    }
    for dns in dns.unwrap_or_default().split(',').filter(|dns| !dns.is_empty()) {
        text += &format!("DNS={dns}\n");
    }
    text
}

fn access_point(address: &str) -> String {
    format!(
        "[Match]\nName=wl*\n\n[Link]\nRequiredForOnline=no\n\n[Network]\n\
         Address={address}\nLinkLocalAddressing=ipv6\nMulticastDNS=yes\nLLMNR=no\n\
         ConfigureWithoutCarrier=yes\nDHCPServer=yes\n\n\
         [DHCPServer]\nEmitRouter=no\nEmitNTP=no\nEmitTimezone=no\nEmitDNS=yes\n\
         DNS=_server_address\nDefaultLeaseTimeSec=1h\n"
    )
}

fn wpa_supplicant(country: &str, ssid: &str, key: &str) -> String {
    // the name in hexadecimal: it may hold anything
    let ssid = hex(ssid);
    let how = if key.is_empty() {
        "key_mgmt=NONE".to_owned()
    } else if is_raw(key) {
        format!("key_mgmt=WPA-PSK WPA-PSK-SHA256\n    psk={key}")
    } else {
        // the last quote of the line ends it: those within the phrase need no mark
        format!("key_mgmt=WPA-PSK WPA-PSK-SHA256 SAE\n    ieee80211w=1\n    psk=\"{key}\"")
    };
    format!(
        "country={country}\nupdate_config=0\nnetwork={{\n    ssid={ssid}\n    scan_ssid=1\n    \
         {how}\n}}\n"
    )
}

fn hostapd(country: &str, ssid: &str, key: &str, channel: &str) -> String {
    let mut text = format!(
        "interface=wlan0\ndriver=nl80211\ncountry_code={country}\nieee80211d=1\nhw_mode=g\n\
         channel={channel}\nieee80211n=1\nwmm_enabled=1\nssid2={}\nutf8_ssid=1\nauth_algs=1\n\
         max_num_sta=32\n",
        hex(ssid)
    );
    let secret = if is_raw(key) { "wpa_psk" } else { "wpa_passphrase" };
    if !key.is_empty() {
        text += &format!("wpa=2\nwpa_key_mgmt=WPA-PSK\nrsn_pairwise=CCMP\n{secret}={key}\n");
    }
    text
}

fn hosts(own: &str) -> String {
    let mut text = String::from("127.0.0.1 localhost\n::1 localhost\n");
    for name in PROBES {
        let _ = writeln!(text, "{own} {name}");
    }
    text
}

fn hex(text: &str) -> String {
    text.bytes().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
