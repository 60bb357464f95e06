//! The thread as the loop meets it: what is handed over, what is told, what is there afterwards.

use std::path::Path;

use async_channel::Receiver;

use super::*;
use crate::config::Keep;
use crate::model::history::{Body, Entry, Forget, Known, Reader, Recipient};
use crate::model::limits::{MAX_KNOWN, MAX_UNKEPT};
use crate::model::{Delivery, Dialect, Direction, EntryId, Handle, PeerId, Wall};

const EPOCH: u64 = 0xfedc_ba98_7654_3210;

fn now() -> Now {
    Now { mono: 2_000_000, wall: Wall(1_800_000_000_000) }
}

pub(super) fn rules(folder: &Path) -> Rules {
    Rules {
        images: folder.join("images"),
        history: config::History::default(),
        files: config::Files::default(),
    }
}

fn start(folder: &Path) -> (Store, Receiver<Told>, Remembered) {
    start_by(Some(folder), rules(folder))
}

fn start_by(folder: Option<&Path>, rules: Rules) -> (Store, Receiver<Told>, Remembered) {
    let (told, answers) = async_channel::unbounded();
    let begin = Begin { folder: folder.map(Into::into), rules, epoch: EPOCH, now };
    let (store, remembered) = Store::start(begin, told).unwrap();
    (store, answers, remembered)
}

pub(super) fn text(n: u64, with: &str, text: &str) -> Entry {
    Entry {
        id: EntryId { epoch: EPOCH, n },
        order: n,
        user: None,
        conversation: with.into(),
        from: with.into(),
        direction: Direction::In,
        dialect: Dialect::Slcp,
        at: Wall(1_800_000_000_000 + n),
        dated: true,
        mono: 2_000_000,
        body: Body::Text { text: text.into() },
        autoreply: false,
        recipients: Vec::new(),
    }
}

pub(super) fn to(mut entry: Entry, handle: &str, state: Delivery) -> Entry {
    let peer = PeerId(handle.len() as u64);
    entry.direction = Direction::Out;
    entry.recipients.push(Recipient { peer, handle: handle.into(), state, reason: None });
    entry
}

fn put(entry: &Entry) -> Vec<Change> {
    vec![Change::Put(Box::new(entry.clone()))]
}

pub(super) fn reader(user: &str) -> Reader {
    Reader { user: Handle::try_from(user).unwrap(), since: 0 }
}

fn last(limit: u32) -> Query {
    Query::Last { reader: reader("box"), conversation: None, before: None, limit }
}

fn search(words: &str) -> Query {
    Query::Search { reader: reader("box"), words: words.into(), before: None, limit: 100 }
}

fn found(store: &Store, answers: &Receiver<Told>, query: Query) -> Result<Found, IoError> {
    store.ask(Ticket(1), query).unwrap();
    loop {
        match answers.recv_blocking().unwrap() {
            Told::Found(_, found) => return found,
            Told::Stored(_, outcome) => outcome.unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

fn entries(store: &Store, answers: &Receiver<Told>, query: Query) -> Vec<Entry> {
    match found(store, answers, query) {
        Ok(Found::Entries { entries, .. }) => entries,
        other => panic!("{other:?}"),
    }
}

fn texts(entries: &[Entry]) -> Vec<&str> {
    let text = |e: &'_ Entry| match &e.body {
        Body::Text { .. } => (),
        other => panic!("{other:?}"),
    };
    entries.iter().for_each(text);
    entries
        .iter()
        .map(|e| if let Body::Text { text } = &e.body { text.as_str() } else { "" })
        .collect()
}

#[test]
fn what_is_stored_is_there_after_a_restart_in_order_and_once() {
    let dir = tempfile::tempdir().unwrap();
    let (store, answers, remembered) = start(dir.path());
    assert_eq!(remembered, Remembered::default());
    let mut file = text(2, "anna", "");
    file.body = Body::File {
        path: "/srv/images/anna-1.png".into(),
        size: u64::MAX,
        format: "png".into(),
        width: Some(u32::MAX),
        height: None,
        gone: false,
    };
    file.user = Handle::try_from("box").ok();
    file.autoreply = true;
    file.dated = false;
    let queued = to(text(3, "bob", "later"), "bob", Delivery::Queued);
    let all = [text(1, "#lobby", "hello"), file, queued.clone()];
    for (n, entry) in all.iter().enumerate() {
        store.write(n as u64 + 1, put(entry), n == 2).unwrap();
    }
    assert_eq!(answers.recv_blocking().unwrap(), Told::Stored(3, Ok(())), "one group");
    store.write(4, put(&all[0]), true).unwrap();
    let known = |name: &str| Known {
        handle: Handle::try_from(name).unwrap(),
        peer: PeerId(7),
        dialect: Dialect::Hello,
        address: "10.0.0.1:5010".into(),
    };
    store.write(5, vec![Change::Met(known("Bob")), Change::Met(known("eve"))], false).unwrap();
    store.write(6, vec![Change::Met(known("bob"))], false).unwrap();
    drop(store);
    assert!(!dir.path().join("history.db-wal").exists(), "carried over at the end");
    let (store, answers, remembered) = start(dir.path());
    assert_eq!(remembered.last_order, 3);
    assert_eq!(remembered.outbox, [queued]);
    assert_eq!(remembered.known, [known("eve"), known("bob")]);
    assert_eq!(entries(&store, &answers, last(100)), all);
    assert_eq!(entries(&store, &answers, last(1)), all[2..]);
}

#[test]
fn states_follow_and_the_undated_are_dated_again() {
    let dir = tempfile::tempdir().unwrap();
    let (store, answers, _) = start(dir.path());
    let entry = to(to(text(1, "x", "hi"), "bob", Delivery::Queued), "carla", Delivery::Queued);
    let mut undated = text(2, "x", "when");
    (undated.dated, undated.mono) = (false, 2_000_500);
    store.write(1, put(&entry), false).unwrap();
    store.write(2, put(&undated), false).unwrap();
    let state = Change::State {
        id: entry.id,
        peer: PeerId(3),
        state: Delivery::Failed,
        reason: Some("nobody listens there".into()),
    };
    store
        .write(3, vec![state, Change::Date { epoch: EPOCH, zero: 1_700_000_000_000 }], true)
        .unwrap();
    let all = entries(&store, &answers, last(9));
    assert_eq!(all[0].at, entry.at);
    let to: Vec<_> = all[0].recipients.iter().map(|r| (r.handle.as_str(), r.state)).collect();
    assert_eq!(to, [("bob", Delivery::Failed), ("carla", Delivery::Queued)]);
    assert_eq!(all[0].recipients[0].reason.as_deref(), Some("nobody listens there"));
    assert_eq!((all[1].at, all[1].dated), (Wall(1_700_002_000_500), true));
}

#[test]
fn words_are_found_whatever_their_diacritics_case_and_quotes() {
    let dir = tempfile::tempdir().unwrap();
    let (store, answers, _) = start(dir.path());
    let said = ["Grüße aus der Straße", "Příliš žluťoučký kůň", "plain \"quoted\" OR words"];
    for (n, said) in (1..).zip(said) {
        store.write(n, put(&text(n, "x", said)), false).unwrap();
    }
    for (words, hits) in [
        ("grusse", &[0][..]),
        ("GRÜSSE strasse", &[0]),
        ("straß", &[0]),
        ("prilis KUN", &[1]),
        ("žlut", &[1]),
        ("\"quoted", &[2]),
        ("or", &[2]),
        ("plain nowhere", &[]),
        ("\" *", &[]),
        ("text:plain", &[]),
        ("a* AND (", &[]),
    ] {
        let found = entries(&store, &answers, search(words));
        let want: Vec<&str> = hits.iter().map(|i| said[*i]).collect();
        assert_eq!(texts(&found), want, "{words}");
    }
}

#[test]
fn pages_follow_each_other_without_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let (store, answers, _) = start(dir.path());
    for n in 1..=10 {
        let with = if n % 2 == 0 { "even" } else { "odd" };
        store.write(n, put(&text(n, with, &format!("word {n}"))), false).unwrap();
    }
    let orders = |query| match found(&store, &answers, query).unwrap() {
        Found::Entries { entries, more } => {
            (entries.iter().map(|e| e.order).collect::<Vec<_>>(), more)
        }
        other => panic!("{other:?}"),
    };
    let last = |conversation: Option<&str>, before, limit| Query::Last {
        reader: reader("box"),
        conversation: conversation.map(Into::into),
        before,
        limit,
    };
    assert_eq!(orders(last(None, None, 3)), (vec![8, 9, 10], true));
    assert_eq!(orders(last(None, Some(8), 7)), (vec![1, 2, 3, 4, 5, 6, 7], false));
    assert_eq!(orders(last(Some("even"), Some(8), 2)), (vec![4, 6], true));
    assert_eq!(orders(last(Some("EVEN"), None, 2)), (vec![], false));
    assert_eq!(orders(last(None, Some(u64::MAX), 1)), (vec![10], true));
    assert_eq!(orders(Query::From { after: 0, limit: 4 }), (vec![1, 2, 3, 4], true));
    assert_eq!(orders(Query::From { after: 8, limit: 4 }), (vec![9, 10], false));
    let search = |before, limit| Query::Search {
        reader: reader("box"),
        words: "word".into(),
        before,
        limit,
    };
    assert_eq!(orders(search(None, 2)), (vec![9, 10], true));
    assert_eq!(orders(search(Some(3), 2)), (vec![1, 2], false));
}

#[test]
fn a_page_ends_at_its_bytes_and_holds_one_entry_at_least() {
    let dir = tempfile::tempdir().unwrap();
    let (store, answers, _) = start(dir.path());
    let long = "long ".repeat(read::PAGE_BYTES / 20);
    for n in 1..=5 {
        store.write(n, put(&text(n, "x", &long)), false).unwrap();
    }
    store.write(6, put(&text(6, "x", &long.repeat(5))), false).unwrap();
    let page = |before, limit| {
        let query = Query::Last { reader: reader("box"), conversation: None, before, limit };
        match found(&store, &answers, query).unwrap() {
            Found::Entries { entries, more } => {
                (entries.iter().map(|e| e.order).collect::<Vec<_>>(), more)
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(page(None, 200), (vec![6], true));
    assert_eq!(page(Some(6), 200), (vec![3, 4, 5], true));
    assert_eq!(page(Some(3), 200), (vec![1, 2], false));
    for n in 7..=400 {
        store.write(n, put(&text(n, "x", "y")), false).unwrap();
    }
    let (orders, more) = page(None, u32::MAX);
    assert_eq!((orders.len(), more), (crate::model::limits::MAX_PAGE as usize, true));
}

#[test]
fn what_a_killed_run_had_deleted_is_out_of_the_log_after_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let (store, answers, _) = start(dir.path());
    store.write(1, put(&text(1, "x", "zanzibar")), true).unwrap();
    store.write(2, put(&text(2, "x", "wednesday")), true).unwrap();
    found(&store, &answers, last(1)).unwrap();
    for name in ["history.db", "history.db-wal"] {
        std::fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
    }
    drop(store);
    let (_store, _answers, _) = start(copy.path());
    let log = copy.path().join("history.db-wal");
    let begun = std::time::Instant::now();
    while std::fs::metadata(&log).map_or(0, |m| m.len()) > 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "the log is not emptied");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn deleting_takes_it_from_the_index_and_from_every_byte_of_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let (store, answers, _) = start(dir.path());
    for n in 1..=300 {
        let with = if n % 3 == 0 { "mallory" } else { "anna" };
        let secret = if n % 3 == 0 { "zanzibar" } else { "wednesday" };
        let entry = text(n, with, &format!("{secret}{n} the {secret} plan {n}"));
        store.write(n, put(&entry), n % 10 == 0).unwrap();
    }
    let count =
        |store: &Store, what| found(store, &answers, Query::Delete { reader: None, what }).unwrap();
    let before = entries(&store, &answers, search("wednesday"));
    assert_eq!(count(&store, Forget::Conversation("mallory".into())), Found::Count(100));
    assert_eq!(count(&store, Forget::Conversation("mallory".into())), Found::Count(0));
    assert_eq!(texts(&entries(&store, &answers, search("zanzibar"))), [""; 0]);
    assert_eq!(entries(&store, &answers, search("wednesday")), before);
    // Both a moment later and after the end nothing of it is left in any file.
    let holds = |word: &str| {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                all.extend(std::fs::read(path).unwrap());
            }
        }
        all.windows(word.len()).filter(|w| *w == word.as_bytes()).count()
    };
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(holds("zanzibar"), 0);
    assert_eq!(holds("mallory"), 0);
    assert!(holds("wednesday") > 200);
    assert_eq!(count(&store, Forget::Entry(1)), Found::Count(1));
    assert_eq!(count(&store, Forget::All), Found::Count(199));
    drop(store);
    assert_eq!((holds("zanzibar"), holds("wednesday"), holds("anna")), (0, 0, 0));
    let bytes = std::fs::metadata(dir.path().join("history.db")).unwrap().len();
    assert!(bytes < 120_000, "{bytes} bytes are left of nothing");
    let (_store, _answers, remembered) = start(dir.path());
    assert_eq!(remembered.last_order, 300, "no order is given twice");
}

#[test]
fn a_user_reads_and_deletes_what_is_his_and_the_lobby_never_anothers() {
    let dir = tempfile::tempdir().unwrap();
    let (store, answers, _) = start(dir.path());
    let said = |n, whose: Option<&str>, with: &str| {
        let user = whose.map(|w| Handle::try_from(w).unwrap());
        Entry { user, ..text(n, with, &format!("word {n}")) }
    };
    let all = [
        said(1, Some("guest"), "bob"),
        said(2, Some("box"), "bob"),
        said(3, None, "#lobby"),
        said(4, Some("Guest"), "bob"),
        said(5, Some("box"), "#lobby"),
    ];
    all.iter().zip(1..).for_each(|(e, n)| store.write(n, put(e), false).unwrap());
    let ask = |query| texts(&entries(&store, &answers, query)).join(",");
    let late = Reader { since: 1, ..reader("guest") };
    let page = |reader: &Reader, conversation: Option<&str>| Query::Last {
        reader: reader.clone(),
        conversation: conversation.map(Into::into),
        before: None,
        limit: 9,
    };
    assert_eq!(ask(page(&reader("guest"), None)), "word 1,word 3,word 4,word 5");
    assert_eq!(ask(page(&late, None)), "word 3,word 4,word 5");
    assert_eq!(ask(page(&late, Some("bob"))), "word 4");
    let words =
        |reader: Reader| Query::Search { reader, words: "word".into(), before: None, limit: 9 };
    assert_eq!(ask(words(late.clone())), "word 3,word 4,word 5");
    let renamed = Change::Renamed {
        from: Handle::try_from("guest").unwrap(),
        to: Handle::try_from("gast").unwrap(),
    };
    store.write(6, vec![renamed], false).unwrap();
    assert_eq!(ask(page(&reader("gast"), Some("bob"))), "word 1,word 4");
    let delete = |reader, what| found(&store, &answers, Query::Delete { reader, what }).unwrap();
    assert_eq!(delete(Some(reader("gast")), Forget::Entry(2)), Found::Count(0));
    assert_eq!(delete(Some(reader("gast")), Forget::Conversation("bob".into())), Found::Count(2));
    assert_eq!(ask(page(&reader("box"), Some("bob"))), "word 2");
}

#[test]
fn an_export_taken_in_twice_is_there_once_and_sends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (store, answers, _) = start(dir.path());
    store.write(1, put(&text(1, "x", "here already")), false).unwrap();
    let mut strange: Vec<Entry> = (1..=500).map(|n| text(n, "y", &format!("export {n}"))).collect();
    for entry in &mut strange {
        entry.id.epoch = 5;
    }
    strange[7] = to(strange[7].clone(), "bob", Delivery::Queued);
    strange[8].order = u64::MAX;
    let import = |n| found(&store, &answers, Query::Import(n)).unwrap();
    assert_eq!(import(strange.clone()), Found::Count(500));
    assert_eq!(import(strange), Found::Count(0));
    store.write(2, put(&text(2, "x", "after")), false).unwrap();
    let all = entries(&store, &answers, Query::From { after: 0, limit: 4 });
    assert_eq!(texts(&all), ["here already", "export 1", "export 2", "export 3"]);
    let newest = entries(&store, &answers, last(3));
    assert_eq!(texts(&newest), ["export 499", "export 500", "after"]);
    let sent = entries(&store, &answers, search("export 8")).remove(0);
    assert_eq!(sent.recipients[0].state, Delivery::Failed);
    drop(store);
    assert_eq!(start(dir.path()).2.outbox, []);
}

#[test]
fn where_nothing_is_kept_only_what_waits_is_and_goes_when_it_went() {
    let dir = tempfile::tempdir().unwrap();
    let mut rules = rules(dir.path());
    rules.history.keep = Keep::Nothing;
    let (store, answers, _) = start_by(Some(dir.path()), rules);
    let queued = to(text(2, "bob", "later"), "bob", Delivery::Queued);
    store.write(1, put(&text(1, "x", "secret")), true).unwrap();
    store.write(2, put(&queued), true).unwrap();
    assert_eq!(entries(&store, &answers, last(9)), std::slice::from_ref(&queued));
    let state =
        Change::State { id: queued.id, peer: PeerId(3), state: Delivery::Sent, reason: None };
    store.write(3, vec![state], true).unwrap();
    assert_eq!(entries(&store, &answers, last(9)), []);
    assert!(found(&store, &answers, Query::Import(vec![queued])).is_err());
}

#[test]
fn without_a_folder_it_lives_in_memory() {
    let (store, answers, remembered) = start_by(None, rules(Path::new("/nonexistent")));
    assert_eq!(remembered, Remembered::default());
    store.write(1, put(&text(1, "x", "hello")), true).unwrap();
    assert_eq!(answers.recv_blocking().unwrap(), Told::Stored(1, Ok(())));
    assert_eq!(texts(&entries(&store, &answers, search("hello"))), ["hello"]);
    store.keep(Kept::default()).unwrap();
    drop(store);
    assert!(answers.try_recv().is_err(), "nothing to complain of");
}

#[test]
fn what_was_handed_over_before_a_failure_was_known_is_not_kept_without_what_failed() {
    let dir = tempfile::tempdir().unwrap();
    let (store, answers, _) = start(dir.path());
    let write = |n: u64, said: &str| {
        store.write(n, put(&text(n, "x", said)), true).unwrap();
        match answers.recv_blocking().unwrap() {
            Told::Stored(m, outcome) => (m, outcome.is_ok()),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(write(1, "one"), (1, true));
    store.heard(1);
    let (file, away) = (dir.path().join("history.db"), dir.path().join("away"));
    std::fs::rename(&file, &away).unwrap();
    std::fs::create_dir(&file).unwrap();
    assert_eq!(write(2, "two"), (2, false));
    std::fs::remove_dir(&file).unwrap();
    std::fs::rename(&away, &file).unwrap();
    assert_eq!(write(3, "follows from two"), (3, false));
    store.heard(3);
    assert_eq!(write(4, "two again"), (4, true));
    assert_eq!(texts(&entries(&store, &answers, last(9))), ["one", "two again"]);
}

#[test]
fn one_known_past_the_limit_takes_the_place_of_the_one_met_longest_ago() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _answers, _) = start(dir.path());
    let known = |n: usize| {
        Change::Met(Known {
            handle: Handle::try_from(format!("h{n}").as_str()).unwrap(),
            peer: PeerId(n as u64),
            dialect: Dialect::Slcp,
            address: String::new(),
        })
    };
    store.write(1, (0..=MAX_KNOWN).map(known).collect(), true).unwrap();
    drop(store);
    let (_store, _answers, remembered) = start(dir.path());
    assert_eq!(remembered.known.len(), MAX_KNOWN);
    assert_eq!(remembered.known[0].handle.as_str(), "h1");
}

#[test]
fn one_past_each_lane_is_refused_not_waited_for() {
    let store = Store { queue: Arc::default(), heard: Cell::default(), thread: None };
    for n in 0..queue::MAX_FILE_OPS {
        store.file(FileId(n as u64), FileOp::Read { offset: 0 }).unwrap();
    }
    let read = store.file(FileId(1), FileOp::Read { offset: 0 });
    assert_eq!(read.unwrap_err().kind, Trouble::Exhausted);
    store.file(FileId(1), FileOp::Close).unwrap();
    for n in 0..MAX_UNKEPT {
        store.write(n as u64 + 1, Vec::new(), false).unwrap();
    }
    assert_eq!(store.write(9_999, Vec::new(), true).unwrap_err().kind, Trouble::Exhausted);
    for _ in 0..queue::MAX_ASKS {
        store.ask(Ticket(1), last(1)).unwrap();
    }
    assert_eq!(store.ask(Ticket(1), last(1)).unwrap_err().kind, Trouble::Exhausted);
    store.queue.gone();
    assert!(store.file(FileId(1), FileOp::Close).is_err());
}

#[test]
fn files_are_served_in_order_between_writes_and_follow_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let (store, answers, _) = start(dir.path());
    let (one, two) = (FileId(1), FileId(2));
    let create = || FileOp::Create { stem: "x".into() };
    store.file(one, create()).unwrap();
    let mut other = rules(dir.path());
    other.images = dir.path().join("two");
    store.rules(other).unwrap();
    store.file(two, create()).unwrap();
    for op in [FileOp::Append(b"GIF89a\x03\0\x02\0\0\0\0".into()), FileOp::Finish] {
        store.file(one, op.clone()).unwrap();
        store.write(1, put(&text(1, "x", "y")), false).unwrap();
        store.file(two, op).unwrap();
    }
    let mut paths = Vec::new();
    while paths.len() < 2 {
        if let Told::File(_, Ok(FileDone::Finished { path, .. })) = answers.recv_blocking().unwrap()
        {
            paths.push(path);
        }
    }
    let named = |name: &str| dir.path().join(name).display().to_string();
    assert_eq!(paths, [named("images/x.gif"), named("two/x.gif")]);
    store.file(one, FileOp::Create { stem: "half".into() }).unwrap();
    drop(store);
    assert_eq!(std::fs::read_dir(dir.path().join("two")).unwrap().count(), 1, "half is gone");
}

#[test]
fn a_text_to_ten_thousand_and_its_states_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let (store, answers, _) = start(dir.path());
    let many = |n: u64, order: u64| {
        let mut entry = text(order, "#lobby", "to you all");
        let to = |p| Recipient {
            peer: PeerId(p),
            handle: format!("p{p}"),
            state: Delivery::Queued,
            reason: None,
        };
        entry.recipients = (0..n).map(to).collect();
        entry
    };
    let time = |n: u64, order: u64| {
        let entry = many(n, order);
        store.write(order * 2, put(&entry), true).unwrap();
        answers.recv_blocking().unwrap();
        let state = |p| Change::State {
            id: entry.id,
            peer: PeerId(p),
            state: Delivery::Sent,
            reason: None,
        };
        let begun = std::time::Instant::now();
        store.write(order * 2 + 1, (0..n).map(state).collect(), true).unwrap();
        answers.recv_blocking().unwrap();
        begun.elapsed()
    };
    let (few, many) = (time(1_000, 1), time(10_000, 2));
    println!("1,000 states in {few:?}, 10,000 in {many:?}");
    let all = entries(&store, &answers, last(1)).remove(0).recipients;
    assert!(all.len() == 10_000 && all.iter().all(|r| r.state == Delivery::Sent));
}
