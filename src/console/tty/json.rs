//! The driver of machine mode: the same ends, way and pace as the console for people has.

use std::future::pending;
use std::io;
use std::time::SystemTime;

use futures_lite::future::or;

use super::super::json::Json;
use super::ends::{CHUNK, Pace, Terminal, flush, gone, written};
use super::{Asking, Ended, Eof, Options, Signals, ask, millis, raw, signalled, woken};
use crate::console::editor::Screen;
use crate::hub::Way;
use crate::model::Wall;

enum Woke {
    Answer(Result<crate::model::Answer, crate::model::Refusal>),
    Written(io::Result<usize>),
    Signal,
    Read(io::Result<usize>),
    Event(Option<std::rc::Rc<crate::model::Stamped>>),
    Tick,
}

/// Until the other mode is asked for, or the console ends.
pub(super) async fn run<W: Way>(
    way: &W,
    terminal: &mut Terminal,
    options: &Options,
    rest: &mut Vec<u8>,
) -> io::Result<Ended> {
    let Terminal { input, output, screen } = terminal;
    let screen = *screen;
    let line = options.pace.is_some();
    let _raw = match raw(input.as_ref().filter(|_| !line), screen) {
        Err(e) if gone(&e) => return Ok(Ended::HungUp),
        raw => raw?,
    };
    let signals = if line { None } else { Some(Signals::new(false)?) };
    let mut pace = Pace::of(options.pace);
    let standing = options.session.standing.clone();
    let mut json = Json::new(options.session.operator, standing);
    let mut buffer = [0; CHUNK];
    let mut waiting: Vec<u8> = Vec::new();
    let mut asking: Option<Asking<'_>> = None;
    json.feed(millis(options.started), &std::mem::take(rest));
    let ended = loop {
        if let Some(left) = json.wants_text().filter(|_| asking.is_none()) {
            *rest = left;
            break Ended::Mode;
        }
        if asking.is_none() {
            if let Some((user, command)) = json.next_ask() {
                let user = user.or_else(|| options.session.user.clone());
                asking = Some(Box::pin(async move { (0, ask(way, user, command, None).await) }));
            }
        }
        if let Some(since) = json.wants_events() {
            let place = way.read_from(since);
            json.subscribe(Wall::from_system(SystemTime::now()), place);
        }
        if waiting.is_empty() {
            waiting = json.take_output();
        }
        if input.is_none() && options.eof == Eof::Ends && asking.is_none() && json.is_idle() {
            break Ended::Quit;
        }

        let answer = async {
            match &mut asking {
                Some(asking) => Woke::Answer(asking.await.1),
                None => pending().await,
            }
        };
        let written = async { Woke::Written(written(output, &pace, &waiting).await) };
        let signal = async {
            signalled(signals.as_ref()).await;
            Woke::Signal
        };
        let read = async {
            match &*input {
                Some(input) => Woke::Read(input.read(&mut buffer).await),
                None => pending().await,
            }
        };
        let event = async {
            if !json.has_room() {
                pending::<()>().await;
            }
            Woke::Event(way.event().await)
        };
        let tick = async {
            woken(options.started, json.wake()).await;
            Woke::Tick
        };
        let woke = or(or(or(answer, written), or(signal, read)), or(event, tick)).await;

        let now = millis(options.started);
        match woke {
            Woke::Answer(result) => {
                asking = None;
                json.answer(result);
            }
            Woke::Written(Ok(n)) => {
                pace.wrote(n);
                drop(waiting.drain(..n));
            }
            Woke::Read(Ok(0)) if screen != Screen::Plain => break Ended::HungUp,
            Woke::Read(Ok(0)) => *input = None,
            Woke::Read(Ok(n)) => json.feed(now, &buffer[..n]),
            Woke::Written(Err(e)) | Woke::Read(Err(e)) if gone(&e) => break Ended::HungUp,
            Woke::Written(Err(e)) | Woke::Read(Err(e)) => return Err(e),
            Woke::Event(Some(event)) => json.event(&event),
            Woke::Event(None) => break Ended::NodeGone,
            Woke::Tick => json.tick(now),
            Woke::Signal => {
                if signals.as_ref().is_some_and(|signals| signals.take().end) {
                    break Ended::Signalled;
                }
            }
        }
    };
    waiting.extend(json.take_output());
    if ended != Ended::HungUp {
        flush(output, &mut waiting).await;
    }
    Ok(ended)
}
