//! What is kept as people ask for it: read, imported, deleted, and under another handle.

use super::*;

#[test]
fn everyone_reads_what_is_his_and_only_the_box_exports() {
    let mut bench = with_nora();
    bench.say("Nora", "hi").unwrap();
    bench.ask(Command::AddUser { handle: "guest".into(), back: None }).unwrap();
    let read = |with: Option<&str>| Command::History {
        with: with.map(Into::into),
        before: None,
        limit: None,
    };
    let _ = bench.begin(read(Some("NORA@192.168.178.11")));
    let _ = bench.begin_as(Some("guest"), read(None));
    let queries: Vec<Query> = bench.queries.drain(..).map(|(_, q)| q).collect();
    let reader = |name: &str, since| Reader { user: Handle::try_from(name).unwrap(), since };
    let last = |reader, conversation: Option<&str>| Query::Last {
        reader,
        conversation: conversation.map(Into::into),
        before: None,
        limit: klatsch::node::recall::PAGE,
    };
    assert_eq!(queries, [last(reader("Ben", 0), Some("nora")), last(reader("guest", 1), None)]);
    for command in [
        Command::Export { after: 0, limit: None },
        Command::Import { entries: Vec::new() },
        Command::Delete { entry: None, with: None, all: true },
        Command::Delete { entry: Some(1), with: None, all: false },
    ] {
        let ticket = bench.begin_as(Some("guest"), command);
        let answer = bench.answers.iter().find(|(t, _)| *t == ticket);
        assert!(matches!(answer, Some((_, Err(Refusal::Denied { .. })))), "{answer:?}");
    }
    assert_eq!(bench.queries, []);
}

#[test]
fn a_page_is_answered_and_an_error_is_a_refusal() {
    let mut bench = with_nora();
    let search = Command::Search { words: "hi".into(), before: None, limit: Some(1) };
    let asked = bench.begin(search.clone());
    let (ticket, _) = bench.queries.pop().unwrap();
    let entries = vec![queued(1, "Nora", 5)];
    bench.input(Input::Found(ticket, Ok(Found::Entries { entries: entries.clone(), more: true })));
    let page = klatsch::model::answer::Page { entries, more: true };
    assert_eq!(bench.answers.pop(), Some((asked, Ok(Answer::Page(page)))));
    let asked = bench.begin(search);
    let (ticket, _) = bench.queries.pop().unwrap();
    bench.input(Input::Found(ticket, Err(IoError::new(Trouble::Other, "it is damaged"))));
    let refusal = Refusal::Failed { reason: "what is kept: it is damaged".into() };
    assert_eq!(bench.answers.pop(), Some((asked, Err(refusal))));
}

#[test]
fn one_entry_past_max_page_is_not_imported() {
    let mut bench = with_nora();
    let import = |n: u32| Command::Import {
        entries: (1..=u64::from(n)).map(|n| queued(n, "Nora", 5)).collect(),
    };
    assert!(matches!(bench.ask(import(MAX_PAGE + 1)), Err(Refusal::TooMany { .. })));
    bench.say("Nora", "hi").unwrap();
    let _ = bench.begin(import(MAX_PAGE));
    let Some((_, Query::Import(entries))) = bench.queries.pop() else { panic!() };
    let orders: Vec<u64> = entries.iter().map(|e| e.order).collect();
    assert_eq!(orders, (2..2 + u64::from(MAX_PAGE)).collect::<Vec<_>>(), "after what is there");
}

#[test]
fn an_import_names_no_file_outside_the_image_folder() {
    let mut bench = with_nora();
    let folder = klatsch::config::Settings::default().imagepath.display().to_string();
    let paths = ["/etc/shadow", &format!("{folder}/../link.key"), &format!("{folder}/a.png"), ""];
    let entry = |path: &&str| {
        let (size, format) = (1, "png".to_owned());
        let (width, height, gone) = (None, None, false);
        let body = Body::File { path: (*path).into(), size, format, width, height, gone };
        klatsch::model::history::Entry { body, ..queued(1, "Nora", 5) }
    };
    let _ = bench.begin(Command::Import { entries: paths.iter().map(entry).collect() });
    let Some((_, Query::Import(entries))) = bench.queries.pop() else { panic!() };
    let path = |e: &klatsch::model::history::Entry| match &e.body {
        Body::File { path, .. } => path.clone(),
        Body::Text { .. } => panic!(),
    };
    assert_eq!(entries.iter().map(path).collect::<Vec<_>>(), ["", "", paths[2], ""]);
}

#[test]
fn what_is_deleted_does_not_leave_any_more() {
    for delete in [
        Command::Delete { entry: Some(1), with: None, all: false },
        Command::Delete { entry: None, with: Some("nora".into()), all: false },
        Command::Delete { entry: None, with: None, all: true },
    ] {
        let mut bench = without_nora();
        say(&mut bench, "one");
        fates(&mut bench);
        let _ = bench.begin(delete.clone());
        let Some((_, Query::Delete { what, .. })) = bench.queries.pop() else { panic!() };
        match (&delete, what) {
            (_, Forget::Entry(1) | Forget::All) => {}
            (_, Forget::Conversation(with)) if with == "nora" => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(fates(&mut bench), [(Delivery::Failed, why("deleted before it left"))]);
        comes(&mut bench);
        assert_eq!(went(&mut bench), [""; 0]);
    }
}

#[test]
fn another_handle_takes_what_is_kept_and_what_waits_with_it() {
    let mut bench = without_nora();
    say(&mut bench, "one");
    bench.changes();
    bench.ask(Command::SetHandle { handle: "Benjamin".into() }).unwrap();
    let handle = |name: &str| Handle::try_from(name).unwrap();
    let renamed = Change::Renamed { from: handle("Ben"), to: handle("Benjamin") };
    assert!(bench.changes().contains(&renamed));
    comes(&mut bench);
    let texts = bench.datagrams().into_iter().filter(|(to, _)| *to == addr(NORA));
    assert!(texts.map(|(_, b)| b).any(|b| b.starts_with(b"MSG Benjamin one")));
}
