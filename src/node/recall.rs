//! What people ask of what is kept: to read, to search, to delete, to carry away and back.
//!
//! Everyone reads what is his and the lobby's, never another's. What concerns everyone's is the
//! box's own user's to ask.

use std::path::Path;

use super::Node;
use super::dialects::OWN_TICKET;
use super::io::Ticket;
use super::outbox::Item;
use crate::command::Command;
use crate::model::answer::Page;
use crate::model::history::{Body, Entry, Forget, Found, Query, Reader};
use crate::model::limits::MAX_PAGE;
use crate::model::{Answer, IoError, Now, Refusal, UserId};

/// Entries in a page where nobody says how many.
pub const PAGE: u32 = 20;

impl Node {
    /// Asks the store; the answer comes later.
    ///
    /// # Errors
    /// It is not for this user, or means nothing.
    pub(super) fn recall(
        &mut self,
        now: Now,
        ticket: Ticket,
        id: UserId,
        command: Command,
    ) -> Result<(), Refusal> {
        let query = match command {
            Command::History { with, before, limit } => {
                if let Some(name) = with.as_deref().filter(|name| !name.starts_with('#')) {
                    let _ = self.mark_read(now, id, name); // nobody of that name wrote
                }
                let conversation = with.map(|name| self.conversation(&name));
                let (before, limit) = (before.map(order), page(limit)?);
                let reader = self.reader(id)?;
                Query::Last { reader, conversation, before, limit }
            }
            Command::Search { words, before, limit } => {
                if words.trim().is_empty() {
                    return Err(Refusal::bad("SEARCH", words, "a word to look for"));
                }
                let (before, limit) = (before.map(order), page(limit)?);
                let reader = self.reader(id)?;
                Query::Search { reader, words, before, limit }
            }
            Command::Export { after, limit } => {
                self.must_be_the_box(id, "an export holds everyone's conversations")?;
                Query::From { after: order(after), limit: page(limit)? }
            }
            Command::Import { entries } => {
                self.must_be_the_box(id, "an import becomes part of everyone's conversations")?;
                Query::Import(self.imported(entries)?)
            }
            Command::Delete { entry, with, all } => {
                self.deletion(now, id, entry, with.as_deref(), all)?
            }
            _ => return Ok(()),
        };
        self.query(ticket, query);
        Ok(())
    }

    /// The store answered.
    pub(super) fn found(&mut self, now: Now, ticket: Ticket, result: Result<Found, IoError>) {
        if ticket == OWN_TICKET {
            if let Ok(found) = result {
                self.remember_lobby(now, found);
            }
            return;
        }
        let answer = match result {
            Ok(Found::Entries { entries, more }) => Ok(Answer::Page(Page { entries, more })),
            Ok(Found::Count(n)) => Ok(Answer::Count(n)),
            Err(error) => Err(Refusal::Failed { reason: format!("what is kept: {error}") }),
        };
        self.answer(ticket, answer);
    }

    fn reader(&self, id: UserId) -> Result<Reader, Refusal> {
        match self.users.get(id) {
            Some(user) => Ok(Reader { user: user.handle.clone(), since: user.since }),
            None => Err(Refusal::Failed { reason: "this node has no user".into() }),
        }
    }

    fn must_be_the_box(&self, id: UserId, why: &str) -> Result<(), Refusal> {
        match self.users.acting(None) == Ok(id) {
            true => Ok(()),
            false => Err(Refusal::Denied { what: format!("{why}: only the box's own user may") }),
        }
    }

    /// The conversation that a name means, whoever bears it now.
    fn conversation(&self, name: &str) -> String {
        if name.starts_with('#') {
            return name.to_lowercase();
        }
        match self.resolve(name) {
            Ok(target) => self.handle_of(target).to_lowercase(),
            Err(_) => name.split_once('@').map_or(name, |(handle, _)| handle).to_lowercase(),
        }
    }

    fn deletion(
        &mut self,
        now: Now,
        id: UserId,
        entry: Option<u64>,
        with: Option<&str>,
        all: bool,
    ) -> Result<Query, Refusal> {
        let own = self.reader(id)?;
        if self.users.get(id).is_some_and(|u| u.guest) {
            return Err(Refusal::Denied { what: "a guest deletes nothing".into() });
        }
        let of = |item: &Item| item.user == own.user;
        let why = "deleted before it left";
        let (reader, what) = match (entry, with, all) {
            (Some(number), None, false) => {
                let reader = match self.must_be_the_box(id, "") {
                    Ok(()) => None,
                    Err(_) => Some(own.clone()),
                };
                let any = reader.is_none();
                self.cancel_waiting(now, why, |item| item.order == number && (any || of(item)));
                let user = own.user.clone();
                self.cancel_linked(now, why, |w| w.order == number && (any || *w.user == user));
                (reader, Forget::Entry(order(number)))
            }
            (None, Some(name), false) => {
                let key = self.conversation(name);
                self.forget_room(now, id, &key);
                self.cancel_waiting(now, why, |item| item.handle.key() == key && of(item));
                let user = own.user.clone();
                self.cancel_linked(now, why, |w| w.handle.key() == key && *w.user == user);
                (Some(own), Forget::Conversation(key))
            }
            (None, None, true) => {
                self.must_be_the_box(id, "that is everyone's")?;
                self.forget_room(now, id, "");
                self.cancel_waiting(now, why, |_| true);
                self.cancel_linked(now, why, |_| true);
                (None, Forget::All)
            }
            _ => {
                let expected = "one of: an entry's number, whom it was said with, all";
                return Err(Refusal::bad("what to delete", "", expected));
            }
        };
        Ok(Query::Delete { reader, what })
    }

    /// Entries of an export as they are taken in: after all that is there.
    fn imported(&mut self, mut entries: Vec<Entry>) -> Result<Vec<Entry>, Refusal> {
        if entries.len() > MAX_PAGE as usize {
            let limit = u64::from(MAX_PAGE);
            return Err(Refusal::TooMany { what: "entries in one call".into(), limit });
        }
        for entry in &mut entries {
            entry.order = self.keeping.next_order();
            entry.conversation = entry.conversation.to_lowercase();
            // Files of entries are served to pages: whoever may import must not name any file
            // that we can read. What was received lies in the image folder itself.
            if let Body::File { path, .. } = &mut entry.body {
                if Path::new(path).parent() != Some(&self.settings.imagepath) {
                    path.clear();
                }
            }
        }
        Ok(entries)
    }
}

/// Orders as the store counts them.
fn order(n: u64) -> u64 {
    n.min(i64::MAX as u64)
}

fn page(limit: Option<u32>) -> Result<u32, Refusal> {
    let limit = limit.unwrap_or(PAGE);
    match (1..=MAX_PAGE).contains(&limit) {
        true => Ok(limit),
        false => {
            Err(Refusal::bad("how many", limit.to_string(), format!("1 to {MAX_PAGE} at once")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_past_max_page_is_refused() {
        assert_eq!(page(None), Ok(PAGE));
        assert_eq!(page(Some(MAX_PAGE)), Ok(MAX_PAGE));
        assert!(page(Some(MAX_PAGE + 1)).is_err() && page(Some(0)).is_err());
    }
}
