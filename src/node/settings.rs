//! What is set while the node runs: by CONFIG and its like, by a file read again, by FORM.

use super::commands::Answered;
use super::delivery::Target;
use super::io::Action;
use super::{Node, config_rows};
use crate::config::Settings;
use crate::model::{Answer, Now, Refusal, SettingView, UserId, What};

impl Node {
    pub(super) fn config(
        &mut self,
        now: Now,
        key: Option<String>,
        value: Option<String>,
    ) -> Answered {
        let Some(key) = key else {
            return Ok(Answer::Config(config_rows::view(&self.settings)));
        };
        let row = config_rows::find(&key).ok_or_else(|| config_rows::unknown(&key))?;
        let Some(value) = value else {
            return Ok(self.shown(row));
        };
        if !row.live {
            let what = format!("{} cannot change while the node runs: set it in the file", row.key);
            return Err(Refusal::Denied { what });
        }
        let first = self.users.acting(None)?;
        match row.key {
            "handle" => {
                self.set_handle(now, first, &value)?;
                return Ok(self.shown(row));
            }
            "autoreply" => {
                self.set_autoreply(now, first, value)?;
                return Ok(self.shown(row));
            }
            _ => {}
        }
        let mut changed = self.settings.clone();
        row.set(&mut changed, &value)?;
        if row.key == "inactive" {
            let away = changed.users.first().is_some_and(|u| u.inactive);
            self.set_presence(now, first, away, None)?;
            return Ok(self.shown(row));
        }
        if row.key == "room.connect" {
            self.room_connect(now, changed.room.connect)?;
        }
        self.apply(now, changed);
        let value = row.get(&self.settings);
        self.kept.set.insert(row.key.into(), value.clone());
        self.keep();
        let value = row.told(&self.settings);
        self.tell(now, None, What::Config { key: row.key.into(), value });
        Ok(self.shown(row))
    }

    /// The page's settings with their PINs.
    pub(super) fn pages(&self) -> Answer {
        let rows = config_rows::rows().filter(|row| row.key.starts_with("web."));
        let clear = rows
            .map(|row| SettingView { value: row.get(&self.settings), ..row.view(&self.settings) });
        Answer::Config(clear.collect())
    }

    fn shown(&self, row: &config_rows::Row) -> Answer {
        Answer::Config(vec![row.view(&self.settings)])
    }

    /// Takes over settings that may change at run time.
    fn apply(&mut self, now: Now, settings: Settings) {
        let announce = u64::from(settings.slcp.announce) * 1_000;
        let broadcast = settings.slcp.broadcast.clone();
        self.slcp_do(|m| m.set_live(broadcast, announce));
        self.roster.set_announce(announce);
        let old = std::mem::replace(&mut self.settings, settings);
        self.switch_dialects(now);
        self.follow_room(now, old.room.connect);
        let keep = self.outbox_keep();
        self.outbox.reckon(keep);
        self.set_links(now, self.all_links.clone());
    }

    /// The files were read again: what may change does, what may not is said.
    pub(super) fn reload(&mut self, now: Now, new: Settings) {
        let Ok(first) = self.users.acting(None) else { return };
        let mut next = self.settings.clone();
        let mut changed = Vec::new();
        for row in config_rows::rows() {
            let (old, value) = (row.get(&self.settings), row.get(&new));
            if old == value {
                continue;
            }
            let answer = match row.key {
                _ if !row.live => {
                    let (old, new) = (config_rows::shown(&old), config_rows::shown(&value));
                    let text = format!(
                        "{} is {old}; the file says {new}, which holds after the next start",
                        row.key
                    );
                    self.trouble(now, text);
                    continue;
                }
                "handle" => self.set_handle(now, first, &value),
                "autoreply" => self.set_autoreply(now, first, value),
                "inactive" => {
                    let away = new.users.first().is_some_and(|u| u.inactive);
                    self.set_presence(now, first, away, None)
                }
                _ => {
                    let set = row.set(&mut next, &value);
                    changed.push(row);
                    set.map(|()| Answer::Done)
                }
            };
            if let Err(refusal) = answer {
                self.trouble(now, format!("{}: {refusal}", row.key));
            }
        }
        if new.users.get(1..) != self.settings.users.get(1..) {
            let text = "[[users]] changed: that holds after the next start".into();
            self.trouble(now, text);
        }
        if new.serial != self.settings.serial {
            let text = "[[serial]] changed: that holds after the next start".into();
            self.trouble(now, text);
        }
        next.users.clone_from(&self.settings.users);
        self.apply(now, next);
        for row in changed {
            let value = row.told(&self.settings);
            self.tell(now, None, What::Config { key: row.key.into(), value });
        }
    }

    pub(super) fn set_form(&mut self, name: &str, form: Option<String>) -> Answered {
        let Target::Peer(id) = self.resolve(name)? else {
            return Err(Refusal::bad("FORM", name, "a peer, not a user of this node"));
        };
        let Some(peer) = self.roster.get(id) else { return Ok(Answer::Done) };
        let (addr, key) = (peer.route().addr, peer.handle.key());
        let mut known = true;
        self.slcp_do(|m| known = m.set_form(addr, form.as_deref()));
        if !known {
            let names: Vec<&str> = crate::dialect::slcp::FORMS.iter().map(|f| f.name).collect();
            let found = form.unwrap_or_default();
            return Err(Refusal::bad("FORM", found, format!("one of {}", names.join(", "))));
        }
        match form {
            Some(form) => self.kept.forms.insert(key, form),
            None => self.kept.forms.remove(&key),
        };
        self.keep();
        Ok(Answer::Done)
    }

    /// Tells that a user's setting changed, and keeps it if it is the first user's.
    pub(super) fn changed_setting(&mut self, now: Now, id: UserId, key: &str, value: &str) {
        let handle = self.users.get(id).map(|u| u.handle.clone());
        let what = What::Config { key: key.into(), value: value.into() };
        self.tell(now, handle, what);
        if self.users.acting(None) == Ok(id) {
            if let Some(row) = config_rows::find(key) {
                let _ = row.set(&mut self.settings, value); // it was checked before
            }
            self.kept.set.insert(key.into(), value.into());
            self.keep();
        }
    }

    pub(super) fn keep(&mut self) {
        self.actions.push_back(Action::Keep(Box::new(self.kept.clone())));
    }
}
