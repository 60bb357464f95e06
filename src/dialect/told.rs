//! What a machine of hello, room or directory tells the node and its driver, in order; and who is
//! here, by the lists that he stands in.

use std::collections::VecDeque;
use std::net::Ipv4Addr;

use super::heard::{Contact, Heard, Out};
use crate::model::{IoError, Map, Net, Trouble};

/// See the module.
pub(super) struct Told {
    dialect: &'static str,
    out: VecDeque<Out>,
    /// In how many lists someone is.
    present: Map<Contact, u8>,
}

impl Told {
    /// Nothing told yet; complaints begin with the dialect's name.
    pub(super) fn new(dialect: &'static str) -> Told {
        Told { dialect, out: VecDeque::new(), present: Map::new() }
    }

    /// The next thing to do.
    pub(super) fn poll(&mut self) -> Option<Out> {
        self.out.pop_front()
    }

    /// Who is here.
    pub(super) fn present(&self) -> impl Iterator<Item = &Contact> {
        self.present.keys()
    }

    /// Someone is in one list more.
    pub(super) fn here(&mut self, contact: Contact) {
        let lists = self.present.entry(contact.clone()).or_insert(0);
        *lists = lists.saturating_add(1);
        if *lists == 1 {
            self.heard(Heard::Here(contact));
        }
    }

    /// Someone is in one list less.
    pub(super) fn gone(&mut self, contact: Contact, why: &str) {
        let Some(lists) = self.present.get_mut(&contact) else { return };
        *lists -= 1;
        if *lists == 0 {
            self.present.remove(&contact);
            self.heard(Heard::Gone(contact, why.into()));
        }
    }

    pub(super) fn net(&mut self, net: Net) {
        self.out.push_back(Out::Net(net));
    }

    pub(super) fn heard(&mut self, heard: Heard) {
        self.out.push_back(Out::Heard(heard));
    }

    pub(super) fn not_sent(&mut self, tag: u64, why: &str) {
        self.heard(Heard::NotSent(tag, IoError::new(Trouble::Other, why)));
    }

    /// Someone else did what he should not.
    pub(super) fn complain(&mut self, from: Ipv4Addr, text: &str) {
        self.heard(Heard::Complaint { from, text: format!("{}: {text}", self.dialect) });
    }

    /// Something is wrong here.
    pub(super) fn complain_ours(&mut self, text: String) {
        self.heard(Heard::Complaint { from: Ipv4Addr::UNSPECIFIED, text });
    }
}
