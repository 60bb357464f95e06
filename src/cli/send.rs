//! `msg`, `all` and `img`: sends, then waits for what becomes of it.
//!
//! The events are subscribed to before anything is sent, so that none is missed. A text that is
//! `sent` can still fail for a moment: an ICMP error comes after the datagram has left.

use std::io::{IsTerminal, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_lite::FutureExt;

use super::args::Options;
use super::{Code, json_lines, print, show};
use crate::command::Command;
use crate::control::Client;
use crate::daemon::complain;
use crate::hub::Way;
use crate::model::{
    Answer, Delivery, EntryId, IoError, PeerId, Receipt, Refusal, Set, TransferState, What, limits,
};
use crate::reactor::Timer;
use crate::store::files::open_source;

/// What is not known of a text by then is `queued`, in milliseconds.
pub const WAIT_MS: u64 = 6_000;
/// In this time after sending a late failure still counts, in milliseconds.
pub const GRACE_MS: u64 = 200;
/// A file that is offered is `queued` if nobody takes it in this time, in milliseconds.
pub const OFFER_WAIT_MS: u64 = 3_000;
/// An image of which nothing is heard for so long is `queued`: longer than the node lets a
/// transfer stall.
pub const IMAGE_WAIT_MS: u64 = limits::STALL_MS + limits::CONNECT_MS + 1_000;

/// Sends a text and says what became of it.
pub(super) async fn text(
    client: &mut Client,
    options: &Options,
    to: Vec<String>,
    text: String,
) -> Result<Code, Refusal> {
    listen(client).await?;
    let sent = client.ask(options.acting.clone(), Command::Send { to, text }, None).await?;
    let mut watch = Watch::new(sent);
    settle(client, &mut watch, Pace { wait: WAIT_MS, renewed: false, progress: false }).await;
    Ok(report(options, &watch))
}

/// Sends an image and says what became of it.
pub(super) async fn image(
    client: &mut Client,
    options: &Options,
    to: Vec<String>,
    path: PathBuf,
) -> Result<Code, Refusal> {
    // We open it: the node may run as another user, and in another folder.
    let file = open_source(&path).map_err(|error| unreadable(&path, error))?;
    opened(client, options, to, path, Some(file.into())).await
}

/// Sends a file or a folder and says what became of it.
pub(super) async fn file(
    client: &mut Client,
    options: &Options,
    to: Vec<String>,
    path: PathBuf,
) -> Result<Code, Refusal> {
    if !path.is_dir() {
        return image(client, options, to, path).await;
    }
    // the node reads it itself
    opened(client, options, to, path, None).await
}

fn unreadable(path: &std::path::Path, error: IoError) -> Refusal {
    Refusal::File { path: path.display().to_string(), reason: error.text }
}

async fn opened(
    client: &mut Client,
    options: &Options,
    to: Vec<String>,
    path: PathBuf,
    file: Option<OwnedFd>,
) -> Result<Code, Refusal> {
    let absolute = std::path::absolute(&path).map_err(|e| unreadable(&path, e.into()))?;
    listen(client).await?;
    let path = absolute.to_string_lossy().into_owned();
    let command = Command::SendFile { to, path, descriptor: file.as_ref().map(|_| 0), name: None };
    let sent = client.ask(options.acting.clone(), command, file).await?;
    let mut watch = Watch::new(sent);
    let progress = std::io::stderr().is_terminal();
    settle(client, &mut watch, Pace { wait: IMAGE_WAIT_MS, renewed: true, progress }).await;
    Ok(report(options, &watch))
}

/// Listens for what will become of it. A node whose streams are all taken still sends.
async fn listen(client: &mut Client) -> Result<(), Refusal> {
    match client.subscribe(None, None).await {
        Err(Refusal::TooMany { .. }) => {
            complain("too many others follow the node's events: sent without waiting");
            Ok(())
        }
        done => done,
    }
}

fn report(options: &Options, watch: &Watch) -> Code {
    if watch.receipts.is_empty() {
        complain("nobody is here");
        return Code::NoSuchPeer;
    }
    let text =
        if options.json { json_lines(&watch.receipts) } else { show::receipts(&watch.receipts) };
    if let Err(refusal) = print(&text) {
        complain(refusal);
    }
    watch.code()
}

/// How long to wait for what.
struct Pace {
    wait: u64,
    /// Each sign of life starts the wait anew.
    renewed: bool,
    /// Show on stderr how far it is.
    progress: bool,
}

async fn settle(way: &impl Way, watch: &mut Watch, pace: Pace) {
    let wait = Duration::from_millis(pace.wait);
    let mut until = Instant::now() + wait;
    let mut grace = None;
    let mut shown = false;
    loop {
        let deadline = if watch.is_settled() {
            if !watch.may_yet_fail() {
                break;
            }
            *grace.get_or_insert_with(|| Instant::now() + Duration::from_millis(GRACE_MS))
        } else if watch.is_offered() {
            // who takes it unasked begins at once
            *grace.get_or_insert_with(|| Instant::now() + Duration::from_millis(OFFER_WAIT_MS))
        } else {
            grace = None;
            until
        };
        let late = async {
            Timer::at(deadline).await;
            None
        };
        let Some(event) = way.event().or(late).await else { break };
        let what = &event.event.what;
        if watch.hear(what) && pace.renewed {
            until = Instant::now() + wait;
        }
        if let (true, Some(line)) = (pace.progress, watch.progress(what)) {
            let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
            shown = true;
        }
    }
    if shown {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
}

/// What is known of each recipient so far.
struct Watch {
    receipts: Vec<Receipt>,
    /// Transfers under way.
    running: Set<(EntryId, PeerId)>,
}

impl Watch {
    fn new(answer: Answer) -> Watch {
        let receipts = match answer {
            Answer::Sent(receipts) => receipts,
            _ => Vec::new(),
        };
        Watch { receipts, running: Set::new() }
    }

    /// Whether it was about one of ours.
    fn hear(&mut self, what: &What) -> bool {
        let (id, peer) = match what {
            What::Delivery { id, peer, .. } | What::Transfer { id, peer, .. } => (*id, *peer),
            _ => return false,
        };
        let Some(receipt) = self.receipts.iter_mut().find(|r| r.id == id && r.peer == peer) else {
            return false;
        };
        match what {
            What::Delivery { state, reason, .. } => {
                (receipt.state, receipt.reason) = (*state, reason.clone());
            }
            What::Transfer { state: TransferState::Running, .. } => {
                self.running.insert((id, peer));
            }
            What::Transfer { state: TransferState::Paused, reason, .. } => {
                self.running.remove(&(id, peer));
                let why = reason.as_ref().map_or(String::new(), |why| format!(": {why}"));
                receipt.reason = Some(format!("paused{why}"));
            }
            What::Transfer { state: TransferState::Done, .. } => {
                self.running.remove(&(id, peer));
                // over the link that it arrived is said besides
                if receipt.state == Delivery::Queued {
                    receipt.state = Delivery::Sent;
                }
            }
            What::Transfer { state: TransferState::Failed, reason, .. } => {
                self.running.remove(&(id, peer));
                (receipt.state, receipt.reason) = (Delivery::Failed, reason.clone());
            }
            _ => {}
        }
        true
    }

    fn is_settled(&self) -> bool {
        // what waits, and says for what, may wait for days
        let settled = |r: &Receipt| r.state.is_settled() || r.reason.is_some();
        self.running.is_empty() && !self.is_offered() && self.receipts.iter().all(settled)
    }

    /// Whether a file is offered, and nobody said yes or no yet.
    fn is_offered(&self) -> bool {
        let offered = |r: &Receipt| r.reason.as_ref().is_some_and(|why| why.starts_with("offered"));
        let waits = |r: &Receipt| r.state == Delivery::Queued && offered(r);
        self.running.is_empty() && self.receipts.iter().any(waits)
    }

    fn may_yet_fail(&self) -> bool {
        self.receipts.iter().any(|r| r.state == Delivery::Sent)
    }

    fn code(&self) -> Code {
        let codes = self.receipts.iter().map(|r| match r.state {
            Delivery::Sent | Delivery::Delivered | Delivery::Read => Code::Done,
            Delivery::Queued => Code::Queued,
            Delivery::Failed => Code::Failed,
        });
        codes.max().unwrap_or(Code::Done)
    }

    fn progress(&self, what: &What) -> Option<String> {
        let What::Transfer { id, peer, done, size, .. } = what else { return None };
        let receipt = self.receipts.iter().find(|r| r.id == *id && r.peer == *peer)?;
        let to = crate::model::text::harmless(&receipt.recipient);
        Some(match size {
            Some(size) if *size > 0 => {
                format!("{to}: {} % of {size} bytes", done.saturating_mul(100) / size)
            }
            _ => format!("{to}: {done} bytes"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Event, Handle, Stamped, Wall};
    use std::cell::RefCell;
    use std::collections::VecDeque;
    use std::os::fd::OwnedFd;
    use std::rc::Rc;

    const ID: EntryId = EntryId { epoch: 1, n: 1 };

    fn receipt(peer: u64, state: Delivery) -> Receipt {
        Receipt { id: ID, recipient: "bob".into(), peer: PeerId(peer), state, reason: None }
    }

    fn delivery(peer: u64, state: Delivery) -> What {
        What::Delivery { id: ID, recipient: "bob".into(), peer: PeerId(peer), state, reason: None }
    }

    fn transfer(state: TransferState, done: u64) -> What {
        What::Transfer {
            id: ID,
            number: None,
            direction: crate::model::Direction::Out,
            peer: PeerId(1),
            handle: "bob".into(),
            name: "a.png".into(),
            done,
            size: Some(200),
            state,
            reason: None,
        }
    }

    /// A way that tells these events, each after its milliseconds.
    struct Script(RefCell<VecDeque<(u64, What)>>);

    impl Way for Script {
        async fn ask(
            &self,
            _: Option<String>,
            _: Command,
            _: Option<OwnedFd>,
        ) -> Result<Answer, Refusal> {
            Ok(Answer::Done)
        }

        async fn event(&self) -> Option<Rc<Stamped>> {
            let next = self.0.borrow_mut().pop_front();
            let Some((after, what)) = next else { return std::future::pending().await };
            Timer::after(Duration::from_millis(after)).await;
            let event = Event { at: Wall(0), user: Handle::try_from("anna").ok(), what };
            Some(Rc::new(Stamped { epoch: "1".into(), seq: 1, event }))
        }
    }

    fn outcome(receipts: Vec<Receipt>, script: Vec<(u64, What)>, wait: u64) -> (Code, u128) {
        let mut watch = Watch::new(Answer::Sent(receipts));
        let begun = Instant::now();
        let script = Script(RefCell::new(script.into()));
        let pace = Pace { wait, renewed: false, progress: false };
        crate::reactor::block_on(settle(&script, &mut watch, pace));
        (watch.code(), begun.elapsed().as_millis())
    }

    #[test]
    fn a_late_failure_within_the_grace_counts() {
        use Delivery::{Delivered, Failed, Queued, Sent};
        let late = vec![(20, delivery(1, Failed))];
        assert_eq!(outcome(vec![receipt(1, Sent)], late, 6_000).0, Code::Failed);
        let (code, took) = outcome(vec![receipt(1, Sent)], vec![], 6_000);
        assert_eq!(code, Code::Done);
        assert!((u128::from(GRACE_MS)..1_000).contains(&took), "{took}");
        let (code, took) = outcome(vec![receipt(1, Delivered)], vec![], 6_000);
        assert!(code == Code::Done && took < 150, "{took}");
        let sure = vec![(5, delivery(1, Delivered))];
        assert_eq!(outcome(vec![receipt(1, Queued)], sure, 6_000).0, Code::Done);
        let never = vec![(5, delivery(2, Delivered))];
        assert_eq!(outcome(vec![receipt(1, Queued)], never, 50).0, Code::Queued);
    }

    #[test]
    fn the_worst_recipient_decides() {
        use Delivery::{Failed, Queued, Sent};
        let mut watch = Watch::new(Answer::Sent(vec![receipt(1, Sent), receipt(2, Queued)]));
        assert_eq!(watch.code(), Code::Queued);
        assert!(watch.hear(&delivery(2, Failed)));
        assert_eq!(watch.code(), Code::Failed);
    }

    #[test]
    fn a_transfer_is_waited_for_to_its_end() {
        let mut watch = Watch::new(Answer::Sent(vec![receipt(1, Delivery::Sent)]));
        let running = transfer(TransferState::Running, 50);
        assert!(watch.hear(&running) && !watch.is_settled());
        assert_eq!(watch.progress(&running).unwrap(), "bob: 25 % of 200 bytes");
        watch.hear(&transfer(TransferState::Done, 200));
        assert!(watch.is_settled());
        watch.hear(&transfer(TransferState::Failed, 200));
        assert_eq!(watch.code(), Code::Failed);
    }
}
