//! Who visits: the guests' tokens, names and ways, kept over a restart of the daemon.
//!
//! A guest is a local user of the node while it is in the chat; here stands what only the page
//! knows of it. Nothing of what guests say is kept here, save the answers to their latest sends,
//! so that one that is sent again after a broken connection is carried out once.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::gate::{Bucket, Level, gives_way};
use crate::model::{Handle, Millis};
use crate::store::identity;

/// Guests remembered, in the chat or not; the one gone longest is forgotten for a newcomer.
pub const MAX_REMEMBERED: usize = 256;
/// Guests in the chat from one address.
pub const MAX_PER_ADDRESS: usize = 8;
/// A guest who was not here for so long is forgotten, in milliseconds of the system's clock.
pub const FORGET_MS: u64 = 30 * 24 * 60 * 60 * 1_000;
/// A guest without a page open is away after this, in milliseconds.
pub const AWAY_MS: Millis = 20_000;
/// Sends whose answer is remembered for each guest.
pub const MAX_KEYS: usize = 32;
/// Bytes of JSON that these answers have together, the newest aside: in a crowded room each
/// names all who were there, and all guests' must fit in [`MAX_FILE`].
pub const MAX_ANSWERS: usize = 8 * 1024;
/// Longest key of a send, in bytes.
pub const MAX_KEY: usize = 64;
/// Streams of events of one guest at once: windows and tabs.
pub const MAX_STREAMS: usize = 4;
/// Addresses that are banned; the oldest goes for one more.
pub const MAX_BANS: usize = 256;
/// What a guest may send: a conversation, not a flood.
pub const TALK: Bucket = Bucket { size: 30, refill: 2 };
/// Bytes of the file they are kept in.
pub const MAX_FILE: u64 = 4 * 1024 * 1024;

const FILE: &str = "guests.json";

/// One visitor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Guest {
    /// What its cookie holds: 32 hexadecimal digits.
    pub token: String,
    /// What the operator and the page call it by.
    pub id: String,
    /// Its name.
    pub handle: Handle,
    /// Its address when last seen.
    pub address: IpAddr,
    /// When it was last seen, in milliseconds of the system's clock.
    pub seen: u64,
    /// Its entries begin after this order: the name may have been another's before.
    #[serde(default)]
    pub since: u64,
    /// The operator does not let it write.
    #[serde(default)]
    pub muted: bool,
    /// It said itself that it is away.
    #[serde(default)]
    pub away: bool,
    /// What is answered for it while it is away, if it chose that.
    #[serde(default)]
    pub autoreply: Option<String>,
    /// Its latest sends: key and answer; `null` while it is being carried out.
    #[serde(default)]
    pub keys: VecDeque<(String, Value)>,
    /// It is a user of the node now; kept, so that after a restart it is again.
    #[serde(default)]
    pub here: bool,
    /// The number of the last event before it came in or took its name: older ones are not its.
    #[serde(skip)]
    pub joined: u64,
    /// Streams of events open.
    #[serde(skip)]
    pub streams: usize,
    /// Since when it has no page open, in steady milliseconds.
    #[serde(skip)]
    pub alone: Option<Millis>,
    /// We made it away, because no page is open.
    #[serde(skip)]
    pub resting: bool,
    /// How much more it may say.
    #[serde(skip)]
    pub talk: Option<Level>,
}

/// All of them, and who may not come in.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Guests {
    /// The guests.
    #[serde(default)]
    pub all: Vec<Guest>,
    /// Addresses that may not.
    #[serde(default)]
    pub banned: VecDeque<IpAddr>,
}

/// What became of a key that a send bears.
#[derive(Debug, PartialEq)]
pub enum Known {
    /// It is new, and noted now.
    No,
    /// It is being carried out.
    UnderWay,
    /// It was: this was the answer.
    Answered(Value),
}

impl Guests {
    /// The one of this token.
    pub fn by_token(&mut self, token: &str) -> Option<&mut Guest> {
        self.all.iter_mut().find(|guest| super::gate::same(token, &guest.token))
    }

    /// The one of this id.
    pub fn by_id(&mut self, id: &str) -> Option<&mut Guest> {
        self.all.iter_mut().find(|guest| guest.id == id)
    }

    /// How many of an address are in the chat.
    pub fn of_address(&self, ip: IpAddr) -> usize {
        self.all.iter().filter(|guest| guest.here && guest.address == ip).count()
    }

    /// How many are in the chat.
    pub fn here(&self) -> usize {
        self.all.iter().filter(|guest| guest.here).count()
    }

    /// One more; whoever was gone longest makes room.
    pub fn add(&mut self, guest: Guest) {
        if self.all.len() >= MAX_REMEMBERED {
            let gone = self.all.iter().enumerate().filter(|(_, g)| !g.here);
            if let Some(at) = gone.min_by_key(|(_, g)| g.seen).map(|(at, _)| at) {
                self.all.remove(at);
            }
        }
        self.all.push(guest);
    }

    /// Who of those in the chat gives up the place to a newcomer from this address: the newest of
    /// the address that has most guests ([`gives_way`]).
    pub fn gives_way(&self, newcomer: IpAddr) -> Option<String> {
        let here = || self.all.iter().filter(|guest| guest.here);
        let most = gives_way(here().map(|guest| guest.address), newcomer)?;
        let of_most = here().filter(|guest| guest.address == most);
        of_most.max_by_key(|guest| guest.joined).map(|guest| guest.id.clone())
    }

    /// Who of those in the chat has been without a page longest, if anyone is.
    pub fn longest_alone(&self) -> Option<String> {
        let alone = self.all.iter().filter(|g| g.here && g.streams == 0);
        alone.filter_map(|g| Some((g.alone?, &g.id))).min().map(|(_, id)| id.clone())
    }

    /// An address may not come in any more.
    pub fn ban(&mut self, ip: IpAddr) {
        if self.banned.contains(&ip) {
            return;
        }
        if self.banned.len() >= MAX_BANS {
            self.banned.pop_front();
        }
        self.banned.push_back(ip);
    }

    /// What was kept in this folder; what cannot be read is left and begun anew.
    pub fn read(folder: &Path, now: u64) -> Guests {
        let mut text = String::new();
        let read = std::fs::File::open(folder.join(FILE))
            .and_then(|file| file.take(MAX_FILE).read_to_string(&mut text));
        if let Err(error) = read {
            if error.kind() != io::ErrorKind::NotFound {
                log::warn!("web: {FILE} cannot be read ({error}): guests begin anew");
            }
            return Guests::default();
        }
        Guests::parse(&text, now).unwrap_or_else(|error| {
            log::warn!("web: {FILE} is damaged ({error}): guests begin anew");
            Guests::default()
        })
    }

    /// What a file's text says, within the bounds of what is kept; `now` is milliseconds of the
    /// system's clock.
    ///
    /// # Errors
    /// It is no such file.
    pub fn parse(text: &str, now: u64) -> serde_json::Result<Guests> {
        let mut guests: Guests = serde_json::from_str(text)?;
        // A clock that jumped ahead must not forget all of them: the newest always stays.
        let newest = guests.all.iter().map(|g| g.seen).max().unwrap_or_default().min(now);
        let is_forgotten = |g: &Guest| g.seen.saturating_add(FORGET_MS) <= newest;
        guests.all.retain(|g| g.token.len() == 32 && !is_forgotten(g));
        guests.all.truncate(MAX_REMEMBERED);
        guests.banned.truncate(MAX_BANS);
        for guest in &mut guests.all {
            guest.keys.retain(|(_, answer)| !answer.is_null());
        }
        Ok(guests)
    }

    /// Keeps them. The file is replaced whole or not at all; it is not forced to the disk, so
    /// that a slow one does not hold up the chat. Where it would be longer than is read again, the
    /// answers to what was sent are left out: who the guests are is worth more.
    ///
    /// # Errors
    /// As the file system has them.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec(self)?;
        if text.len() as u64 > MAX_FILE {
            let without = |guest: &Guest| Guest { keys: VecDeque::new(), ..guest.clone() };
            let (all, banned) = (self.all.iter().map(without).collect(), self.banned.clone());
            text = serde_json::to_vec(&Guests { all, banned })?;
        }
        let new = folder.join(format!("{FILE}.new"));
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(&text)?;
        std::fs::rename(&new, folder.join(FILE))
    }
}

impl Guest {
    /// A new one.
    pub fn new(handle: Handle, address: IpAddr, now: u64) -> io::Result<Guest> {
        Ok(Guest {
            token: random()?,
            id: random()?.chars().take(12).collect(),
            handle,
            address,
            seen: now,
            since: 0,
            muted: false,
            away: false,
            autoreply: None,
            keys: VecDeque::new(),
            here: false,
            joined: 0,
            streams: 0,
            alone: None,
            resting: false,
            talk: None,
        })
    }

    /// Whether it may say one more thing now.
    pub fn may_talk(&mut self, now: Millis) -> bool {
        TALK.take(now, self.talk.get_or_insert(TALK.full(now)))
    }

    /// Whether a send of this key was made before; a new one is noted.
    pub fn key(&mut self, key: &str) -> Known {
        match self.keys.iter().find(|(k, _)| k == key) {
            Some((_, Value::Null)) => Known::UnderWay,
            Some((_, answer)) => Known::Answered(answer.clone()),
            None => {
                if self.keys.len() >= MAX_KEYS {
                    self.keys.pop_front();
                }
                self.keys.push_back((key.to_owned(), Value::Null));
                Known::No
            }
        }
    }

    /// What became of a send; none: it was not carried out, and may be tried again.
    pub fn answered(&mut self, key: &str, answer: Option<Value>) {
        match answer {
            Some(answer) => {
                if let Some(entry) = self.keys.iter_mut().find(|(k, _)| k == key) {
                    entry.1 = answer;
                }
                let size = |(_, answer): &(String, Value)| answer.to_string().len();
                let mut bytes: usize = self.keys.iter().map(size).sum();
                while bytes > MAX_ANSWERS && self.keys.len() > 1 {
                    bytes -= self.keys.pop_front().as_ref().map_or(0, size);
                }
            }
            None => self.keys.retain(|(k, _)| k != key),
        }
    }
}

/// 128 random bits of the kernel's, as 32 hexadecimal digits.
///
/// # Errors
/// As [`identity::random`] has them.
pub fn random() -> io::Result<String> {
    let bytes = identity::random().map_err(|error| io::Error::other(error.text))?;
    Ok(bytes[..16].iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Whether a key of a send is one: printable, not too long.
pub fn is_key(key: &str) -> bool {
    !key.is_empty() && key.len() <= MAX_KEY && key.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn long_answers_do_not_outgrow_the_file_that_guests_are_kept_in() {
        let mut guest = guest("anna");
        for n in 0..MAX_KEYS {
            guest.key(&format!("k{n}"));
            guest.answered(&format!("k{n}"), Some(json!("x".repeat(3_000))));
        }
        assert_eq!(guest.keys.len(), MAX_ANSWERS / 3_002);
        guest.key("long");
        guest.answered("long", Some(json!("x".repeat(2 * MAX_ANSWERS))));
        assert_eq!(guest.keys.len(), 1);
        assert!(matches!(guest.key("long"), Known::Answered(_)), "the newest stays");
    }

    fn guest(name: &str) -> Guest {
        let handle = Handle::try_from(name).unwrap();
        Guest::new(handle, IpAddr::from([10, 0, 0, 1]), 1_000).unwrap()
    }

    #[test]
    fn tokens_are_random_and_found_whole_only() {
        let mut guests = Guests::default();
        let anna = guest("anna");
        let token = anna.token.clone();
        assert_eq!(token.len(), 32);
        assert_ne!(token, guest("anna").token);
        guests.add(anna);
        assert!(guests.by_token(&token).is_some());
        assert!(guests.by_token(&token[..31]).is_none());
        assert!(guests.by_token("").is_none());
    }

    #[test]
    fn a_damaged_file_names_no_more_than_is_kept_and_its_times_overflow_nothing() {
        let guest = guest("anna");
        let with = |seen| Guest { seen, ..guest.clone() };
        let all = Guests {
            all: (0..=MAX_REMEMBERED as u64).map(|n| with(u64::MAX - n)).collect(),
            banned: (0..=MAX_BANS).map(|_| guest.address).collect(),
        };
        let read = Guests::parse(&serde_json::to_string(&all).unwrap(), 5).unwrap();
        assert_eq!((read.all.len(), read.banned.len()), (MAX_REMEMBERED, MAX_BANS));
        assert!(Guests::parse("{\"all\": 1}", 5).is_err());
    }

    #[test]
    fn what_is_kept_is_read_back_and_only_its_owner_may_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let mut guests = Guests::default();
        let mut anna = guest("anna");
        assert_eq!(anna.key("k1"), Known::No);
        anna.answered("k1", Some(json!({"receipts": []})));
        assert_eq!(anna.key("k2"), Known::No);
        guests.add(anna);
        guests.ban(IpAddr::from([10, 0, 0, 7]));
        guests.write(dir.path()).unwrap();
        let mode = std::fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let mut again = Guests::read(dir.path(), 2_000);
        assert_eq!(again.banned, guests.banned);
        let anna = &mut again.all[0];
        assert_eq!(anna.key("k1"), Known::Answered(json!({"receipts": []})));
        assert_eq!(anna.key("k2"), Known::No, "it was never answered: it may be sent again");
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        assert!(Guests::read(dir.path(), 2_000).all.is_empty());
    }

    #[test]
    fn guests_with_long_answers_in_a_crowded_room_are_known_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let mut guests = Guests::default();
        for n in 0..20 {
            // a text to all of 2,000 has so many receipts
            let mut one = guest(&format!("anna{n}"));
            one.key("k");
            one.answered("k", Some(json!({"receipts": "x".repeat(300_000)})));
            guests.add(one);
        }
        guests.write(dir.path()).unwrap();
        let bytes = std::fs::metadata(dir.path().join(FILE)).unwrap().len();
        assert!(bytes <= MAX_FILE, "{bytes}");
        let again = Guests::read(dir.path(), 2_000);
        let tokens =
            |guests: &Guests| guests.all.iter().map(|g| g.token.clone()).collect::<Vec<_>>();
        assert_eq!(tokens(&again), tokens(&guests));
    }

    #[test]
    fn one_past_the_keys_forgets_the_oldest() {
        let mut anna = guest("anna");
        for n in 0..=MAX_KEYS {
            assert_eq!(anna.key(&format!("k{n}")), Known::No);
        }
        assert_eq!(anna.keys.len(), MAX_KEYS);
        assert_eq!(anna.key("k5"), Known::UnderWay);
        anna.answered("k5", None);
        assert_eq!(anna.key("k5"), Known::No);
        assert!(
            is_key("a-1") && !is_key("") && !is_key("a b") && !is_key(&"x".repeat(MAX_KEY + 1))
        );
    }

    #[test]
    fn one_past_the_remembered_forgets_who_is_gone_longest() {
        let mut guests = Guests::default();
        for n in 0..=MAX_REMEMBERED {
            let mut one = guest("anna");
            one.seen = 1_000 + n as u64;
            one.here = n == 0;
            guests.add(one);
        }
        assert_eq!(guests.all.len(), MAX_REMEMBERED);
        assert_eq!((guests.all[0].seen, guests.all[1].seen), (1_000, 1_002));
    }

    #[test]
    fn whoever_fills_the_chat_from_few_addresses_makes_room_for_others() {
        let mut guests = Guests::default();
        for n in 0..28u8 {
            let mut one = guest("anna");
            (one.here, one.joined) = (true, n.into());
            one.address = IpAddr::from([10, 0, 0, n / 7]);
            guests.add(one);
        }
        let newcomer = IpAddr::from([10, 0, 0, 99]);
        let leaves = guests.gives_way(newcomer).unwrap();
        let leaves = guests.by_id(&leaves).unwrap();
        assert_eq!(leaves.joined % 7, 6, "the newest of one of them");
        assert_eq!(guests.gives_way(IpAddr::from([10, 0, 0, 1])), None);
    }

    #[test]
    fn one_past_the_bans_lifts_the_oldest() {
        let mut guests = Guests::default();
        for n in 0..=MAX_BANS as u32 {
            guests.ban(IpAddr::from(n.to_be_bytes()));
        }
        assert_eq!(guests.banned.len(), MAX_BANS);
        assert_eq!(guests.banned[0], IpAddr::from(1u32.to_be_bytes()));
    }

    #[test]
    fn a_guest_who_floods_has_to_wait() {
        let mut anna = guest("anna");
        let said = (0..100).filter(|_| anna.may_talk(5)).count();
        assert_eq!(said, TALK.size as usize);
        assert!(anna.may_talk(5 + 500));
    }
}
