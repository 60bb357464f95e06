//! A datagram is understood or refused; what was understood reads back as it is written.
#![no_main]

use klatsch::dialect::directory::codec::{Said, list, parse, say};
use klatsch::dialect::directory::MAX_DATAGRAM;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| match parse(bytes) {
    Ok(Said::Login(name)) => {
        let said = say("login", &name);
        assert_eq!(parse(&said), Ok(Said::Login(name)));
    }
    Ok(Said::Logout(name)) => {
        let said = say("logout", &name);
        assert_eq!(parse(&said), Ok(Said::Logout(name)));
    }
    Ok(Said::List(users)) => {
        let said = list(users.iter().map(|(name, at)| (name.as_str(), *at)));
        assert!(said.len() <= MAX_DATAGRAM);
        assert!(matches!(parse(&said), Ok(Said::List(_))));
    }
    Ok(Said::LoggedOut) | Err(_) => {}
});
