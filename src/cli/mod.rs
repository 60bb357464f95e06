//! The process's own arguments: starts a node, or asks a running one over its control socket.
//!
//! `grammar` is what there is to say, `read` reads it and writes help, `args` has it as values; `send` waits for what becomes of a message, `past` carries what is kept
//! away and back, `show` is what people read.

pub mod args;
pub mod grammar;
mod identity;
mod monitor;
mod past;
mod provision;
pub mod read;
mod send;
mod show;

use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;

use crate::command::{Command, LOBBY};
use crate::control::Client;
use crate::daemon::place::Surroundings;
use crate::daemon::{Start, complain};
use crate::hub::Way;
use crate::model::{Answer, IoError, Refusal, Status, Wall};
use args::{Asked, Line, Options, RoomVerb, UserVerb, Verb};
use read::Wrong;

/// How a verb ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Code {
    /// Done; sent or delivered.
    Done = 0,
    /// The node refused, for a reason without a code of its own; or `doctor` found something.
    Refused = 1,
    /// The command line is wrong, or not enough.
    Usage = 2,
    /// Kept, not yet sent.
    Queued = 3,
    /// It will not arrive.
    Failed = 4,
    /// Nobody of that name.
    NoSuchPeer = 5,
    /// Several of that name.
    Ambiguous = 6,
    /// No node is running (EX_UNAVAILABLE of sysexits.h).
    NoNode = 69,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> ExitCode {
        ExitCode::from(code as u8)
    }
}

impl From<&Refusal> for Code {
    fn from(refusal: &Refusal) -> Code {
        match refusal {
            Refusal::NoSuchPeer { .. } => Code::NoSuchPeer,
            Refusal::Ambiguous { .. } => Code::Ambiguous,
            _ => Code::Refused,
        }
    }
}

/// The whole program.
pub fn main() -> ExitCode {
    crate::fault::watch();
    let Line { options, verb } = match Line::read(std::env::args_os()) {
        Ok(Asked::Line(line)) => line,
        Ok(Asked::Said(text)) => {
            // who closed stdout wants no more of it
            let _ = std::io::stdout().write_all(text.as_bytes());
            return Code::Done.into();
        }
        Err(Wrong(text)) => {
            let _ = std::io::stderr().write_all(text.as_bytes());
            return Code::Usage.into();
        }
    };
    match verb {
        None => crate::daemon::start(options.start(true)),
        Some(Verb::Run { system }) => {
            crate::daemon::start(Start { system, ..options.start(false) })
        }
        Some(Verb::Identity { verb }) => identity::run(&options, verb).into(),
        Some(Verb::Provision { boot, data, run }) => {
            provision::run(&provision::Folders { boot, data, run }).into()
        }
        Some(verb) => crate::reactor::block_on(carry_out(&options, verb)).into(),
    }
}

/// A verb for a node that runs.
async fn carry_out(options: &Options, verb: Verb) -> Code {
    let around = Surroundings::of_process();
    let sockets = around.sockets(options.socket.as_deref(), options.instance.as_deref());
    let client = match sockets {
        Err(error) => {
            complain(error);
            return Code::Usage;
        }
        Ok(sockets) => Client::connect_any(&sockets).await,
    };
    let mut client = match client {
        Ok(client) => client,
        Err(error) => {
            complain(error);
            return Code::NoNode;
        }
    };
    let done = match verb {
        Verb::Msg { to, text } => send::text(&mut client, options, to.0, text.join(" ")).await,
        Verb::All { text } => {
            send::text(&mut client, options, vec![LOBBY.into()], text.join(" ")).await
        }
        Verb::Img { to, path } => send::image(&mut client, options, to.0, path).await,
        Verb::File { to, path } => send::file(&mut client, options, to.0, path).await,
        Verb::Export { messages_txt, with } => {
            let with = with.as_deref().map(past::conversation);
            past::export(&client, options, messages_txt, with).await
        }
        Verb::Import { file } => past::import(&client, options, file).await,
        Verb::Update { file } => update(&client, options, &file).await,
        Verb::Monitor { since } => monitor::run(&mut client, options, since).await,
        verb => ask(&client, options, verb).await,
    };
    done.unwrap_or_else(|refusal| {
        complain(crate::model::text::harmless(&refusal.to_string()));
        Code::from(&refusal)
    })
}

/// The verbs that are one call and its answer.
async fn ask(client: &Client, options: &Options, verb: Verb) -> Result<Code, Refusal> {
    let command = match verb {
        Verb::Who { gone } => Command::Who { gone },
        Verb::Away { text } => {
            let text = Some(text.join(" ")).filter(|text| !text.is_empty());
            Command::SetPresence { away: true, text }
        }
        Verb::Back => Command::SetPresence { away: false, text: None },
        Verb::Handle { new: Some(handle) } => Command::SetHandle { handle },
        Verb::Handle { new: None } => {
            let status = status(client, options).await?;
            let acting = options.acting.as_deref();
            let user = status.users.iter().find(|user| acting.is_none_or(|a| user.handle.is(a)));
            let handle = user
                .map(|user| user.handle.clone())
                .ok_or_else(|| Refusal::NoSuchUser { handle: acting.unwrap_or_default().into() })?;
            show(options, &Answer::Handle(handle))?;
            return Ok(Code::Done);
        }
        Verb::Autoreply { text } => {
            let text = text.join(" ");
            let off = text.eq_ignore_ascii_case("off");
            Command::SetAutoreply { text: if off { String::new() } else { text } }
        }
        Verb::History { who, n, before } => Command::History { with: who, before, limit: n },
        Verb::Search { words, n, before } => {
            Command::Search { words: words.join(" "), before, limit: n }
        }
        Verb::Forget { key: Some(handle), .. } => Command::ForgetKey { handle },
        Verb::Forget { who, entry, all, .. } => Command::Delete { entry, with: who, all },
        Verb::Room { verb } => match verb {
            RoomVerb::Join { name } => Command::RoomJoin { room: name },
            RoomVerb::Leave { name } => Command::RoomLeave { room: name },
            RoomVerb::Who { name } => Command::RoomWho { room: name },
            RoomVerb::List => Command::Rooms {},
        },
        Verb::Chat { handle } => Command::Chat { handle },
        Verb::Accept { number } => Command::Accept { number },
        Verb::Refuse { number } => Command::Refuse { number },
        Verb::Pause { number } => Command::Pause { number },
        Verb::Resume { number } => Command::Resume { number },
        Verb::Cancel { number } => Command::Cancel { number },
        Verb::Close { handle } => Command::Close { handle },
        Verb::Join => Command::Join {},
        Verb::Leave => Command::Leave {},
        Verb::Block { handle } => Command::Block { handle },
        Verb::Unblock { handle } => Command::Unblock { handle },
        Verb::Config { key, value } => Command::Config { key, value },
        Verb::Form { handle, form } => {
            let form = form.filter(|form| !form.eq_ignore_ascii_case("auto"));
            Command::SetForm { handle, form }
        }
        Verb::Verify { handle } => Command::Verify { handle },
        Verb::Trust { handle } => Command::Trust { handle },
        Verb::Status => Command::Status {},
        Verb::Doctor => Command::Doctor {},
        Verb::User { verb: UserVerb::Add { handle } } => Command::AddUser { handle, back: None },
        Verb::User { verb: UserVerb::Remove { handle } } => {
            Command::RemoveUser { handle, park: None }
        }
        Verb::User { verb: UserVerb::List } => {
            let users = status(client, options).await?.users;
            if options.json {
                print(&json_lines(&users))?;
            } else {
                print(&show::users(&users))?;
            }
            return Ok(Code::Done);
        }
        Verb::Qr => {
            let page = status(client, options).await?.page;
            let text = if options.json {
                format!("{}\n", serde_json::json!({"page": page}))
            } else {
                format!("{}\n", crate::console::code(&page))
            };
            print(&text)?;
            return Ok(if page.is_empty() { Code::Refused } else { Code::Done });
        }
        // These have ways of their own.
        Verb::Run { .. }
        | Verb::Identity { .. }
        | Verb::Provision { .. }
        | Verb::Update { .. }
        | Verb::Msg { .. }
        | Verb::All { .. }
        | Verb::Img { .. }
        | Verb::File { .. }
        | Verb::Export { .. }
        | Verb::Import { .. }
        | Verb::Monitor { .. } => {
            return Ok(Code::Done);
        }
    };
    let answer = client.ask(options.acting.clone(), command, None).await?;
    show(options, &answer)?;
    Ok(match answer {
        Answer::Doctor(report) if !report.healthy => Code::Refused,
        _ => Code::Done,
    })
}

/// Hands an update in, and says in one line what became of it.
async fn update(
    client: &Client,
    options: &Options,
    file: &std::path::Path,
) -> Result<Code, Refusal> {
    // We open it: the node may run as another user, and sees no one's home.
    let bundle = crate::store::files::open_source(file)
        .map_err(|error| Refusal::File { path: file.display().to_string(), reason: error.text })?;
    let command = Command::Update { descriptor: Some(0) };
    let answer = client.ask(options.acting.clone(), command, Some(bundle.into())).await?;
    show(options, &answer)?;
    Ok(Code::Done)
}

async fn status(client: &Client, options: &Options) -> Result<Status, Refusal> {
    match client.ask(options.acting.clone(), Command::Status {}, None).await? {
        Answer::Status(status) => Ok(*status),
        _ => Err(Refusal::Failed { reason: "the node's answer is not a status".into() }),
    }
}

fn show(options: &Options, answer: &Answer) -> Result<(), Refusal> {
    let now = Wall::from_system(std::time::SystemTime::now());
    let text = if options.json {
        match answer {
            Answer::Who(peers) => json_lines(peers),
            Answer::Sent(receipts) => json_lines(receipts),
            Answer::Config(settings) => json_lines(settings),
            Answer::Network(interfaces) => json_lines(interfaces),
            Answer::Log(lines) => json_lines(lines),
            Answer::Rooms(rooms) => json_lines(rooms),
            Answer::Page(page) => json_lines(&page.entries),
            other => json_lines(&[crate::api::answer_to_json(other)]),
        }
    } else {
        show::answer(answer, now)
    };
    print(&text)
}

fn json_lines<T: Serialize>(values: &[T]) -> String {
    values.iter().filter_map(|v| serde_json::to_string(v).ok()).map(|line| line + "\n").collect()
}

/// To stdout. That nobody reads it any more (`| head`) changes nothing of what was done.
fn print(text: &str) -> Result<(), Refusal> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Refusal::File { path: "stdout".into(), reason: IoError::from(error).text })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_code_is_the_greatest() {
        assert!(Code::Done < Code::Queued && Code::Queued < Code::Failed);
        assert_eq!(Code::from(&Refusal::NoSuchPeer { name: "x".into() }) as u8, 5);
        assert_eq!(Code::from(&Refusal::Ambiguous { name: "x".into(), choices: vec![] }) as u8, 6);
        assert_eq!(Code::from(&Refusal::Denied { what: "x".into() }) as u8, 1);
        assert_eq!(Code::NoNode as u8, 69);
    }
}
