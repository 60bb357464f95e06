//! Tables that stand more than once: `[[users]]`, `[[link.peer]]`, `[[serial]]`. One that is wrong
//! is not used, and said; the others are.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use toml::de::DeValue;

use super::super::foreign::{self, Meaning};
use super::super::rows;
use super::super::serial::{MAX_SERIAL, Serial};
use super::super::{Settings, User};
use super::{Laying, Leaf, found, integer, of_all_lines, port, words};
use crate::dialect::link::words::Named;
use crate::model::limits::{MAX_LINK_PEERS, MAX_USERS};
use crate::model::{Handle, Refusal};

impl<'a> Laying<'a> {
    pub(super) fn users<'u>(
        &mut self,
        users: &'u [(usize, Vec<Leaf<'a>>)],
        settings: &mut Settings,
        strange: &mut Vec<&'u Leaf<'a>>,
    ) {
        let template = settings.users.first().cloned().unwrap_or_default();
        let template = User { handle: None, port: None, image_port: None, ..template };
        let mut list: Vec<User> = Vec::new();
        for (n, (line, leaves)) in users.iter().enumerate() {
            if list.len() == MAX_USERS {
                self.too_many(*line, "users", users.len(), MAX_USERS);
                break;
            }
            let mut user = template.clone();
            for leaf in leaves {
                self.put_for(leaf, &mut user, strange);
            }
            if user.handle.is_none() {
                // 001 writes the name twice; either will do.
                let name = leaves.iter().find(|leaf| leaf.path.eq_ignore_ascii_case("name"));
                user.handle = name.and_then(|l| l.value.as_str()).map(Handle::nearest);
            }
            let who = format!("users[{}]", n + 1);
            let Some(handle) = &user.handle else {
                let text = "found no handle, expected handle = \"NAME\"; not used";
                self.say(Some(*line), Some(&who), text.into());
                continue;
            };
            if list.iter().any(|u| u.handle.as_ref().is_some_and(|h| h.is(handle.as_str()))) {
                let text = format!("found {handle} again, expected another handle; not used");
                self.say(Some(*line), Some(&who), text);
                continue;
            }
            if user.port.is_some() && list.iter().any(|u| u.port == user.port) {
                let text = "found another user's port, expected one of its own; a free one is used";
                self.say(Some(*line), Some(&who), text.into());
                user.port = None;
            }
            list.push(user);
        }
        if !list.is_empty() {
            settings.users = list;
        }
    }

    /// One `[[link.peer]]`: an address, and perhaps the fingerprint of who is there.
    pub(super) fn peer<'u>(
        &mut self,
        line: usize,
        keys: &'u [Leaf<'a>],
        settings: &mut Settings,
        strange: &mut Vec<&'u Leaf<'a>>,
    ) {
        let (mut at, mut fingerprint, mut usable) = (None, None, true);
        for leaf in keys {
            let text = leaf.value.as_str().unwrap_or_default().trim();
            let full = format!("link.peer.{}", leaf.path);
            if leaf.path.eq_ignore_ascii_case("address") {
                let port = settings.link.port;
                let alone = || text.parse().ok().map(|ip: IpAddr| SocketAddr::new(ip, port));
                at = text.parse().ok().or_else(alone).filter(|at: &SocketAddr| at.port() != 0);
                if at.is_none() {
                    let expected = "an address with or without a port, such as 192.168.1.7:5009";
                    let text = format!("found {}, expected {expected}", found(leaf.value));
                    self.say(Some(leaf.line), Some(&full), text);
                    usable = false;
                }
            } else if leaf.path.eq_ignore_ascii_case("fingerprint") {
                match text.parse() {
                    Ok(print) => fingerprint = Some(print),
                    Err(why) => {
                        let text = format!("found {}: {why}", found(leaf.value));
                        self.say(Some(leaf.line), Some(&full), text);
                        usable = false;
                    }
                }
            } else {
                strange.push(leaf);
            }
        }
        match at.filter(|_| usable) {
            Some(_) if settings.link.peers.len() >= MAX_LINK_PEERS => {
                let text = format!("more than {MAX_LINK_PEERS} of them: not used");
                self.say(Some(line), Some("link.peer"), text);
            }
            Some(at) => settings.link.peers.push(Named { at, fingerprint }),
            None if usable => {
                let text = "found none, expected an address".to_owned();
                self.say(Some(line), Some("link.peer.address"), text);
            }
            None => {}
        }
    }

    fn too_many(&mut self, at: usize, table: &str, found: usize, most: usize) {
        self.say(Some(at), Some(table), format!("found {found}, expected at most {most}"));
    }

    /// A line without a device, or one that has a console already, is none.
    pub(super) fn serial(&mut self, tables: &[(usize, Vec<Leaf<'a>>)]) -> Vec<Serial> {
        let mut lines: Vec<Serial> = Vec::new();
        for (n, (at, leaves)) in tables.iter().enumerate() {
            if lines.len() == MAX_SERIAL {
                self.too_many(*at, "serial", tables.len(), MAX_SERIAL);
                break;
            }
            let mut line = Serial::on(Path::new(""));
            for leaf in leaves {
                let outcome = match leaf.value {
                    DeValue::String(text) => line.set(&leaf.path, text),
                    DeValue::Boolean(on) => line.set(&leaf.path, &on.to_string()),
                    DeValue::Integer(number) => line.set(&leaf.path, number.as_str()),
                    other => line.set(&leaf.path, &found(other)),
                };
                if let Err(refusal) = outcome {
                    let text = format!("{}; not used", words(&refusal));
                    self.say(Some(leaf.line), Some(&leaf.path), text);
                }
            }
            let who = format!("serial[{}]", n + 1);
            if line.device.as_os_str().is_empty() {
                let text = "found no device, expected device = \"/dev/ttyAMA0\"; not used";
                self.say(Some(*at), Some(&who), text.into());
            } else if lines.iter().any(|other| other.device == line.device) {
                let text = format!("found {} again; not used", line.device.display());
                self.say(Some(*at), Some(&who), text);
            } else {
                lines.push(line);
            }
        }
        lines
    }

    /// A key of the table `[serial]`: it is set in every line that is known by then.
    pub(super) fn all_lines(&mut self, leaf: &Leaf<'_>, settings: &mut Settings) {
        let Some(key) = of_all_lines(leaf) else { return };
        let text = match leaf.value {
            DeValue::String(text) => text.to_string(),
            DeValue::Boolean(on) => on.to_string(),
            value => integer(value).map(|n| n.to_string()).unwrap_or_default(),
        };
        for line in &mut settings.serial {
            if let Err(refusal) = line.set(key, &text) {
                let kept = "what it was";
                return self.refuse(leaf, refusal, kept);
            }
        }
    }

    pub(super) fn put_for<'u>(
        &mut self,
        leaf: &'u Leaf<'a>,
        user: &mut User,
        strange: &mut Vec<&'u Leaf<'a>>,
    ) {
        let row = match foreign::meaning(&leaf.path) {
            Meaning::Row(key) => rows::find(key),
            Meaning::Theirs(key) => {
                self.theirs = true;
                rows::find(key)
            }
            Meaning::Unused => {
                self.theirs = true;
                None
            }
            Meaning::Unknown => None,
        };
        let Some(row) = row.filter(|row| row.per_user) else {
            // A user's name is taken where its handle is missing.
            if !leaf.path.eq_ignore_ascii_case("name") {
                strange.push(leaf);
            }
            return;
        };
        let outcome = match leaf.value {
            DeValue::Array(list) if row.key == "port" => {
                match list.iter().next().and_then(|v| port(v.get_ref())) {
                    Some(first) => row.set_for(user, &first.to_string()),
                    None => Err(Refusal::bad(row.key, "a list", row.expected)),
                }
            }
            _ => self.text_of(row, leaf).and_then(|text| match text {
                Some(text) => self.set(row, &text, leaf, |text| row.set_for(user, text)),
                None => Ok(()),
            }),
        };
        match outcome {
            Ok(()) => self.mind_low_port(row, leaf, user.port),
            Err(refusal) => self.refuse(leaf, refusal, "the default"),
        }
    }
}
