//! Any words are searched for or found nowhere; none is an error, or more than it says.
#![no_main]

use klatsch::config::History as Rules;
use klatsch::model::Handle;
use klatsch::model::history::{Found, Query, Reader};
use klatsch::store::history::History;
use klatsch::store::retain::Age;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static EMPTY: std::cell::RefCell<History> =
        History::open(None, Rules::default(), Age::new(1, 0)).0.into();
}

fuzz_target!(|words: &str| {
    let reader = Reader { user: Handle::try_from("anna").unwrap(), since: 0 };
    let query = Query::Search { reader, words: words.into(), before: None, limit: 9 };
    let found = EMPTY.with_borrow_mut(|history| history.answer(&query));
    assert_eq!(found, Ok(Found::Entries { entries: Vec::new(), more: false }), "{words:?}");
});
