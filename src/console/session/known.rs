//! What a session remembers for Tab: who is here, whose users, which settings.

use crate::command::Names;
use crate::model::{Map, PeerId, PeerView, Presence, SettingView};

/// Names kept for completion.
pub const MAX_NAMES: usize = 1_024;

/// See the module.
pub(super) struct Known {
    names: Map<PeerId, String>,
    pub users: Vec<String>,
    settings: Map<String, String>,
    forms: Vec<String>,
    home: Option<String>,
    paths: fn(&str) -> Vec<String>,
}

impl Known {
    pub fn new(forms: Vec<String>, home: Option<String>, paths: fn(&str) -> Vec<String>) -> Known {
        let (names, settings) = (Map::new(), Map::new());
        Known { names, users: Vec::new(), settings, forms, home, paths }
    }

    pub fn see(&mut self, peer: PeerId, name: &str) {
        if self.names.len() < MAX_NAMES || self.names.contains_key(&peer) {
            self.names.insert(peer, name.to_owned());
        }
    }

    pub fn lose(&mut self, peer: PeerId) {
        self.names.remove(&peer);
    }

    pub fn roster(&mut self, peers: &[PeerView]) {
        self.names.clear();
        for peer in peers.iter().filter(|p| p.presence != Presence::Gone) {
            self.see(peer.id, &peer.name);
            for form in peer.routes.iter().filter_map(|r| r.form.as_ref()) {
                if self.forms.len() < MAX_NAMES && !self.forms.contains(form) {
                    self.forms.push(form.clone());
                }
            }
        }
    }

    pub fn settings(&mut self, settings: &[SettingView]) {
        for setting in settings.iter().take(MAX_NAMES) {
            self.settings.insert(setting.key.clone(), setting.value.clone());
        }
    }

    pub fn set(&mut self, key: &str, value: &str) {
        if let Some(known) = self.settings.get_mut(key) {
            value.clone_into(known);
        }
    }

    /// `~/` written out.
    pub fn expand(&self, path: &str) -> String {
        match (path.strip_prefix("~/"), &self.home) {
            (Some(rest), Some(home)) => format!("{}/{rest}", home.trim_end_matches('/')),
            _ => path.to_owned(),
        }
    }
}

impl Names for Known {
    fn handles(&self) -> Vec<String> {
        self.names.values().cloned().collect()
    }

    fn users(&self) -> Vec<String> {
        self.users.clone()
    }

    fn settings(&self) -> Vec<String> {
        self.settings.keys().cloned().collect()
    }

    fn setting(&self, key: &str) -> Option<String> {
        self.settings.get(key).cloned()
    }

    fn forms(&self) -> Vec<String> {
        self.forms.clone()
    }

    fn paths(&self, begun: &str) -> Vec<String> {
        let whole = self.expand(begun);
        let mut found = (self.paths)(&whole);
        if whole != begun {
            let home = &whole[..whole.len() - (begun.len() - 2)];
            found =
                found.iter().filter_map(|p| Some(format!("~/{}", p.strip_prefix(home)?))).collect();
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_past_the_limit_is_not_kept() {
        let mut known = Known::new(Vec::new(), None, |_| Vec::new());
        (0..=MAX_NAMES as u64).for_each(|n| known.see(PeerId(n), "x"));
        assert_eq!(known.names.len(), MAX_NAMES);
        known.see(PeerId(0), "renamed");
        assert!(known.handles().contains(&"renamed".to_owned()));
    }

    #[test]
    fn home_is_written_out_and_taken_back() {
        let known = Known::new(Vec::new(), Some("/home/a".into()), |p| vec![format!("{p}t.png")]);
        assert_eq!(known.expand("~/x"), "/home/a/x");
        assert_eq!(known.paths("~/ca"), ["~/cat.png"]);
        assert_eq!(known.paths("/ca"), ["/cat.png"]);
    }
}
