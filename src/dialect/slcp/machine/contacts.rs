//! What was learned of each peer's program, by its chat address: no one form suits all.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use super::super::forms::{self, Form, Transport};
use super::super::said::ListSeparator;
use super::super::seen::{self, Seen};
use crate::model::limits::MAX_PEERS;

/// Programs remembered: one per route of the roster, and some room for one that is heard while
/// another is being forgotten.
pub const MAX_CONTACTS: usize = MAX_PEERS + 256;

#[derive(Default)]
struct Contact {
    seen: Seen,
    /// Stands above what was learned.
    by_hand: Option<Box<ByHand>>,
    /// UDP was refused at its chat port.
    refused: bool,
    /// Its JOIN came from its chat port, so something reads UDP there.
    chat_udp: bool,
    /// The second port of its JOIN (florandaa).
    udp_port: Option<u16>,
    /// It marks who is away in its lists, so that whom it does not mark is here.
    marks_away: bool,
}

/// What a person set; apart, since it is rare.
struct ByHand {
    form: &'static Form,
    /// Where it takes images (001).
    image_port: Option<u16>,
}

impl ByHand {
    /// From a form's name, or that, a colon and the port for images.
    fn read(text: &str) -> Option<ByHand> {
        let (name, port) = text.split_once(':').unwrap_or((text, ""));
        let image_port = if port.is_empty() { None } else { Some(port.parse().ok()?) };
        Some(ByHand { form: forms::by_name(name)?, image_port })
    }
}

#[derive(Default)]
pub(super) struct Contacts {
    /// In the order of addresses: all of one host stand together.
    by_addr: BTreeMap<SocketAddrV4, Contact>,
}

impl Contacts {
    /// Notes something observed of the program at this chat address.
    pub(super) fn note(&mut self, addr: SocketAddrV4, note: impl FnOnce(&mut Seen)) {
        if let Some(contact) = self.entry(addr) {
            note(&mut contact.seen);
        }
    }

    /// It was heard by UDP from its very chat port.
    pub(super) fn note_chat_udp(&mut self, addr: SocketAddrV4) {
        if let Some(contact) = self.entry(addr) {
            // it reads there (again), so what was refused before is so no more
            (contact.chat_udp, contact.refused) = (true, false);
        }
    }

    /// What the entry that a program wrote of itself tells of its presence: without a mark
    /// nothing, unless the program is known to mark.
    pub(super) fn own_presence(&mut self, addr: SocketAddrV4, marked: bool) -> Option<bool> {
        let contact = self.entry(addr)?;
        contact.marks_away |= marked;
        contact.marks_away.then_some(marked)
    }

    /// Its JOIN named a second port.
    pub(super) fn note_udp_port(&mut self, addr: SocketAddrV4, port: u16) {
        if let Some(contact) = self.entry(addr) {
            contact.udp_port = Some(port);
        }
    }

    pub(super) fn image_port(&self, addr: SocketAddrV4) -> Option<u16> {
        self.by_addr.get(&addr)?.by_hand.as_ref()?.image_port
    }

    pub(super) fn udp_port(&self, addr: SocketAddrV4) -> Option<u16> {
        self.by_addr.get(&addr)?.udp_port
    }

    fn entry(&mut self, addr: SocketAddrV4) -> Option<&mut Contact> {
        if self.by_addr.len() >= MAX_CONTACTS && !self.by_addr.contains_key(&addr) {
            return None;
        }
        Some(self.by_addr.entry(addr).or_default())
    }

    /// Whether anything was noted of this chat address.
    pub(super) fn knows(&self, addr: SocketAddrV4) -> bool {
        self.by_addr.contains_key(&addr)
    }

    /// How many are remembered.
    pub(super) fn len(&self) -> usize {
        self.by_addr.len()
    }

    pub(super) fn forget(&mut self, addr: SocketAddrV4) {
        self.by_addr.remove(&addr);
    }

    pub(super) fn set_form(&mut self, addr: SocketAddrV4, name: Option<&str>) -> bool {
        let by_hand = match name.map(ByHand::read) {
            Some(None) => return false,
            Some(set) => set.map(Box::new),
            None => None,
        };
        if let Some(contact) = self.entry(addr) {
            if by_hand.is_none() {
                contact.seen = Seen::default();
            }
            contact.by_hand = by_hand;
            contact.refused = false;
        }
        true
    }

    /// The form set or learned.
    pub(super) fn form(&self, addr: SocketAddrV4) -> Option<&'static Form> {
        let contact = self.by_addr.get(&addr)?;
        let by_hand = contact.by_hand.as_ref().map(|b| b.form);
        by_hand.or_else(|| seen::settle(&contact.seen))
    }

    /// The form to send in.
    pub(super) fn sending_form(&self, addr: SocketAddrV4) -> &'static Form {
        self.form(addr).unwrap_or(forms::default())
    }

    /// Whether text goes over TCP: the form says so, or UDP was refused and it does not say no.
    pub(super) fn uses_tcp(&self, addr: SocketAddrV4) -> bool {
        match self.form(addr) {
            Some(form) => form.transport == Transport::Tcp,
            None => self.by_addr.get(&addr).is_some_and(|c| c.refused),
        }
    }

    /// UDP was refused at this chat port. `true`: TCP is worth a try, the form was only guessed.
    pub(super) fn refused(&mut self, addr: SocketAddrV4) -> bool {
        if self.form(addr).is_some() {
            return false;
        }
        match self.entry(addr) {
            Some(contact) => {
                contact.refused = true;
                true
            }
            None => false,
        }
    }

    /// Whether it says and reads JSON arrays only.
    pub(super) fn speaks_json(&self, addr: SocketAddrV4) -> bool {
        self.form(addr).is_some_and(|f| f.list.separator == ListSeparator::Json)
    }

    pub(super) fn listens_on_chat_port(&self, addr: SocketAddrV4) -> bool {
        self.by_addr.get(&addr).is_some_and(|c| c.chat_udp)
    }

    /// The chat ports known at an address, for answers to programs that ask from another port.
    pub(super) fn at(&self, ip: Ipv4Addr) -> impl Iterator<Item = SocketAddrV4> + '_ {
        let all = SocketAddrV4::new(ip, 0)..=SocketAddrV4::new(ip, u16::MAX);
        self.by_addr.range(all).map(|(addr, _)| *addr)
    }
}
