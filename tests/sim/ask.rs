//! What tests ask of nodes, and what they wait for.

use klatsch::command::Command;
use klatsch::model::{Answer, Direction, Millis, PeerView, Presence, Receipt, Refusal, What};
use klatsch::node::io::{Input, Ticket};

use crate::world::World;

impl World {
    /// Asks a node; the answer must come within ten seconds.
    pub fn ask(
        &mut self,
        n: usize,
        user: Option<&str>,
        command: Command,
    ) -> Result<Answer, Refusal> {
        let ticket = self.rng.u64(..);
        let user = user.map(ToOwned::to_owned);
        self.feed(n, Input::Ask { ticket: Ticket(ticket), user, command, given: None });
        for _ in 0..1_000 {
            if let Some(answer) = self.slots[n].answers.remove(&ticket) {
                return answer;
            }
            self.run(10);
        }
        panic!("node {n} does not answer");
    }

    /// Whom a node says is here, its own other users included.
    pub fn who(&mut self, n: usize) -> Vec<PeerView> {
        match self.ask(n, None, Command::Who { gone: false }) {
            Ok(Answer::Who(peers)) => peers,
            other => panic!("node {n} says {other:?}"),
        }
    }

    /// The handles of those, sorted.
    pub fn sees(&mut self, n: usize) -> Vec<String> {
        let mut all: Vec<String> = self.who(n).into_iter().map(|p| p.handle).collect();
        all.sort();
        all
    }

    /// How many others a node knows to be here.
    pub fn peers(&mut self, n: usize) -> usize {
        match self.ask(n, None, Command::Status {}) {
            Ok(Answer::Status(status)) => status.peers as usize,
            other => panic!("node {n} says {other:?}"),
        }
    }

    /// The handle of a node's first user.
    pub fn handle(&mut self, n: usize) -> String {
        match self.ask(n, None, Command::Status {}) {
            Ok(Answer::Status(status)) => status.users[0].handle.to_string(),
            other => panic!("node {n} says {other:?}"),
        }
    }

    /// The presence of somebody as a node sees it.
    pub fn presence(&mut self, n: usize, handle: &str) -> Option<Presence> {
        self.who(n).into_iter().find(|p| p.handle == handle).map(|p| p.presence)
    }

    /// Lets time pass until something holds; how long it took.
    pub fn until(
        &mut self,
        most: Millis,
        what: &str,
        mut holds: impl FnMut(&mut World) -> bool,
    ) -> Millis {
        let start = self.now;
        while !holds(self) {
            assert!(self.now < start + most, "not within {most} ms: {what}");
            self.run(50);
        }
        self.now - start
    }

    /// Waits until each of these nodes sees the others' handles and nobody else.
    pub fn meet(&mut self, nodes: &[usize], most: Millis) -> Millis {
        let mut left = nodes.to_vec();
        let start = self.now;
        loop {
            let wanted: Vec<String> = nodes.iter().map(|n| self.handle(*n)).collect();
            left.retain(|n| {
                if self.peers(*n) != nodes.len() - 1 {
                    return true;
                }
                let own = nodes.iter().position(|m| m == n).unwrap();
                let mut others = wanted.clone();
                others.remove(own);
                others.sort();
                self.sees(*n) != others
            });
            if left.is_empty() {
                return self.now - start;
            }
            if self.now >= start + most {
                let n = left[0];
                let (own, seen) = (self.handle(n), self.sees(n));
                panic!("after {most} ms {} nodes do not see all; {own} sees {seen:?}", left.len());
            }
            self.run(50);
        }
    }

    pub fn text(&mut self, n: usize, user: Option<&str>, to: &str, text: &str) -> Vec<Receipt> {
        let command = Command::Send { to: vec![to.into()], text: text.into() };
        match self.ask(n, user, command) {
            Ok(Answer::Sent(receipts)) => receipts,
            other => panic!("sending to {to}: {other:?}"),
        }
    }

    /// Texts that came in at a node: from whom, to whom, what.
    pub fn got(&self, n: usize) -> Vec<(String, String, String)> {
        let told = self.slots[n].told.iter();
        told.filter_map(|(_, event)| match &event.what {
            What::Message { from, to, text, direction: Direction::In, .. } => {
                Some((from.clone(), to.clone(), text.clone()))
            }
            _ => None,
        })
        .collect()
    }

    /// Lines of trouble that a node told.
    pub fn errors(&self, n: usize) -> Vec<String> {
        let told = self.slots[n].told.iter();
        told.filter_map(|(_, event)| match &event.what {
            What::Error { text } => Some(text.clone()),
            _ => None,
        })
        .collect()
    }
}
