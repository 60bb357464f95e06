//! The driver on real descriptors: a pty, pipes, a file, /dev/null; the node is a puppet.

use std::cell::RefCell;
use std::fs::File;
use std::io::{Read, Write};

use futures_lite::future::yield_now;
use nix::pty::openpty;

use super::*;
use crate::model::{Event, Handle, Wall, What};

/// A node that answers everything with `Done` or a handle, and says what it was asked.
#[derive(Default)]
struct Puppet {
    asked: RefCell<Vec<(Option<String>, Command, bool)>>,
    events: RefCell<Vec<Event>>,
    gone: bool,
}

impl Way for Puppet {
    async fn ask(
        &self,
        user: Option<String>,
        command: Command,
        file: Option<OwnedFd>,
    ) -> Result<Answer, Refusal> {
        yield_now().await;
        let answer = match &command {
            Command::SetHandle { handle } => Answer::Handle(Handle::nearest(handle)),
            Command::Who { .. } => Answer::Who(Vec::new()),
            _ => Answer::Done,
        };
        self.asked.borrow_mut().push((user, command, file.is_some()));
        Ok(answer)
    }

    async fn event(&self) -> Option<Rc<Stamped>> {
        let event = self.events.borrow_mut().pop();
        match event {
            Some(event) => Some(Rc::new(Stamped { epoch: "0".into(), seq: 1, event })),
            None if self.gone => None,
            None => pending().await,
        }
    }
}

impl Puppet {
    fn typed(&self) -> Vec<Command> {
        let own = |c: &Command| {
            !matches!(c, Command::Status {} | Command::Config { .. } | Command::Who { .. })
        };
        self.asked.borrow().iter().map(|a| a.1.clone()).filter(own).collect()
    }
}

fn options(eof: Eof) -> Options {
    Options { eof, ..Options::default() }
}

/// Runs a console, at most ten seconds.
fn runs(puppet: &Puppet, terminal: Terminal, options: Options) -> Option<Ended> {
    crate::reactor::block_on(or(
        async { Some(run(puppet, terminal, options).await.expect("a console")) },
        async {
            Timer::after(Duration::from_secs(10)).await;
            None
        },
    ))
}

fn pipe_with(text: &str) -> OwnedFd {
    let (read, write) = nix::unistd::pipe().expect("a pipe");
    File::from(write).write_all(text.as_bytes()).expect("written");
    read
}

fn everything(fd: OwnedFd) -> String {
    let mut text = String::new();
    File::from(fd).read_to_string(&mut text).expect("read");
    text
}

#[test]
fn a_pipe_in_and_a_pipe_out_without_prompts() {
    let (read, write) = nix::unistd::pipe().expect("a pipe");
    let puppet = Puppet::default();
    let terminal = Terminal::new(pipe_with("BLOCK m\r\nhello\nUNBLOCK m"), write).expect("pipes");
    assert_eq!(runs(&puppet, terminal, options(Eof::Ends)), Some(Ended::Quit));
    assert_eq!(puppet.typed().len(), 2);
    let said = everything(read);
    assert!(said.contains("m is blocked") && said.contains("m is heard again"), "{said:?}");
    assert!(said.contains("no command hello") && !said.contains('\x1b') && !said.contains("> "));
}

#[test]
fn a_regular_file_and_dev_null_work_though_epoll_refuses_them() {
    let mut script = tempfile::tempfile().expect("a file");
    script.write_all(b"BLOCK m\n").expect("written");
    std::io::Seek::rewind(&mut script).expect("rewound");
    let out = tempfile::tempfile().expect("a file");
    let mut said = out.try_clone().expect("a copy");
    let puppet = Puppet::default();
    let terminal = Terminal::new(script.into(), out.into()).expect("files");
    assert_eq!(runs(&puppet, terminal, options(Eof::Ends)), Some(Ended::Quit));
    let mut text = String::new();
    std::io::Seek::rewind(&mut said).expect("rewound");
    said.read_to_string(&mut text).expect("read");
    assert!(text.contains("m is blocked"), "{text:?}");
}

#[test]
fn the_end_of_input_need_not_end_the_node() {
    let null =
        || OwnedFd::from(File::options().read(true).write(true).open("/dev/null").expect("null"));
    let event = || Event { at: Wall(0), user: None, what: What::Error { text: "x".into() } };
    let puppet = Puppet { gone: true, ..Puppet::default() };
    puppet.events.borrow_mut().extend([event(), event()]);
    let terminal = Terminal::new(null(), null()).expect("null");
    assert_eq!(runs(&puppet, terminal, options(Eof::Ignored)), Some(Ended::NodeGone));
    assert!(puppet.events.borrow().is_empty(), "it went on until the node ended");
}

#[test]
fn a_terminal_is_raw_meanwhile_and_as_it_was_afterwards() {
    use nix::sys::termios::{LocalFlags, tcgetattr};
    let pty = openpty(None, None).expect("a pty");
    let copy = pty.slave.try_clone().expect("a copy");
    let before = tcgetattr(&copy).expect("attributes");
    assert!(before.local_flags.contains(LocalFlags::ICANON));
    let terminal = Terminal::new(copy.try_clone().expect("a copy"), pty.slave).expect("a pty");
    let mut master = File::from(pty.master);
    let typist = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        master.write_all(b"BLOCK mx\x7f\r\x04").expect("typed");
        let mut said = Vec::new();
        let mut chunk = [0; 4096];
        while !String::from_utf8_lossy(&said).contains("m is blocked") {
            let n = master.read(&mut chunk).expect("read");
            said.extend_from_slice(&chunk[..n]);
        }
        master // stays open until the console has ended
    });
    let puppet = Puppet::default();
    let ended = runs(&puppet, terminal, options(Eof::Ends));
    let after = tcgetattr(&copy).expect("attributes");
    drop(copy); // the typist's read ends, whatever was said
    typist.join().expect("the typist");
    assert_eq!(ended, Some(Ended::Quit));
    assert_eq!(puppet.typed(), [Command::Block { handle: "m".into() }]);
    assert_eq!(after, before);
}

#[test]
fn a_terminal_that_hangs_up_ends_the_console() {
    let pty = openpty(None, None).expect("a pty");
    let copy = pty.slave.try_clone().expect("a copy");
    let terminal = Terminal::new(copy, pty.slave).expect("a pty");
    drop(pty.master);
    assert_eq!(runs(&Puppet::default(), terminal, options(Eof::Ignored)), Some(Ended::HungUp));
}

#[test]
fn an_image_is_opened_here_and_handed_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("my cat.png");
    std::fs::write(&path, b"png").expect("written");
    let (read, write) = nix::unistd::pipe().expect("a pipe");
    let puppet = Puppet::default();
    let place = folder.path().display();
    let script = format!("img bob {place}/my cat.png\nimg bob {place}\nimg bob {place}/no\n");
    let terminal = Terminal::new(pipe_with(&script), write).expect("pipes");
    assert_eq!(runs(&puppet, terminal, options(Eof::Ends)), Some(Ended::Quit));
    let sent = puppet.asked.borrow().iter().filter(|a| a.2).count();
    // a folder is the node's to go through
    assert_eq!((sent, puppet.typed().len()), (1, 2));
    let said = everything(read);
    assert!(said.contains("/no: no such file"), "{said:?}");
}

#[test]
fn tab_finds_files_and_folders() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["cat.png", "car.png", ".cache"] {
        std::fs::write(folder.path().join(name), b"").expect("written");
    }
    std::fs::create_dir(folder.path().join("cats")).expect("made");
    let begun = format!("{}/ca", folder.path().display());
    let found = paths(&begun);
    let names: Vec<&str> = found.iter().map(|p| &p[begun.len() - 2..]).collect();
    assert_eq!(names, ["car.png", "cat.png", "cats/"]);
    assert!(paths("/nonexistent/x").is_empty());
}
