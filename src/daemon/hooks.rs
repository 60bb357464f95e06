//! A program per event: `hooks/message`, `hooks/peer-joined`, ... in the folder of the
//! configuration, run with the event as JSON on its standard input. No shell, no text of anybody's
//! in its arguments or environment; few at a time, and not for long.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use async_executor::LocalExecutor;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::model::{Event, IoError, Map};
use crate::reactor::{Timer, spawn};

/// Programs that run at once.
pub const MAX_RUNNING: usize = 2;
/// Events that wait for their program; further ones are dropped, and that is said.
pub const MAX_WAITING: usize = 32;
/// A program that runs longer is ended, with all that it began.
pub const MOST: Duration = Duration::from_secs(10);
/// Programs of one folder that are looked at.
const MAX_PROGRAMS: usize = 64;
/// How often it is looked whether one has ended.
const LOOK: Duration = Duration::from_millis(50);

/// See the module.
#[derive(Clone)]
pub(super) struct Hooks(Rc<Inner>);

struct Inner {
    executor: Rc<LocalExecutor<'static>>,
    most: Duration,
    /// By kind of event.
    programs: RefCell<Map<String, PathBuf>>,
    waiting: RefCell<VecDeque<(PathBuf, String, File)>>,
    running: Cell<usize>,
    dropped: Cell<bool>,
}

impl Hooks {
    pub(super) fn new(executor: Rc<LocalExecutor<'static>>) -> Hooks {
        Hooks::lasting(executor, MOST)
    }

    fn lasting(executor: Rc<LocalExecutor<'static>>, most: Duration) -> Hooks {
        Hooks(Rc::new(Inner {
            executor,
            most,
            programs: RefCell::default(),
            waiting: RefCell::default(),
            running: Cell::new(0),
            dropped: Cell::new(false),
        }))
    }

    /// The programs of this folder from here on.
    pub(super) fn follow(&self, folder: &Path) {
        let runs = |path: &Path| {
            path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
        };
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let programs: Map<String, PathBuf> = entries
            .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
            .filter(|(_, path)| runs(path))
            .take(MAX_PROGRAMS)
            .collect();
        if !programs.is_empty() {
            let kinds: Vec<&str> = programs.keys().map(String::as_str).collect();
            log::info!("hooks in {}: {}", folder.display(), kinds.join(", "));
        }
        *self.0.programs.borrow_mut() = programs;
    }

    /// Something happened: its program runs, if there is one.
    pub(super) fn happened(&self, event: &Event) {
        if self.0.programs.borrow().is_empty() {
            return;
        }
        let Ok(json) = serde_json::to_value(event) else { return };
        let Some(kind) = json.get("kind").and_then(|kind| kind.as_str()) else { return };
        let Some(program) = self.0.programs.borrow().get(kind).cloned() else { return };
        if self.0.waiting.borrow().len() >= MAX_WAITING {
            if !self.0.dropped.replace(true) {
                log::warn!("hooks: more than {MAX_WAITING} events wait: further ones are dropped");
            }
            return;
        }
        match paper(&json) {
            Ok(input) => {
                self.0.waiting.borrow_mut().push_back((program, kind.to_owned(), input));
                self.begin();
            }
            Err(error) => log::warn!("hooks: {}", IoError::from(error)),
        }
    }

    fn begin(&self) {
        while self.0.running.get() < MAX_RUNNING {
            let Some((program, kind, input)) = self.0.waiting.borrow_mut().pop_front() else {
                self.0.dropped.set(false);
                return;
            };
            match start(&program, &kind, input) {
                Ok(child) => {
                    self.0.running.set(self.0.running.get() + 1);
                    let hooks = self.clone();
                    let watch = async move {
                        watch(child, &program, hooks.0.most).await;
                        hooks.0.running.set(hooks.0.running.get() - 1);
                        hooks.begin();
                    };
                    spawn(&self.0.executor, watch).detach();
                }
                Err(error) => log::warn!("{}: {}", program.display(), IoError::from(error)),
            }
        }
    }
}

/// The event as a file in memory: a program that does not read holds up nobody.
fn paper(json: &serde_json::Value) -> std::io::Result<File> {
    let mut file = File::from(memfd_create(c"event", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(json.to_string().as_bytes())?;
    file.write_all(b"\n")?;
    file.rewind()?;
    Ok(file)
}

fn start(program: &Path, kind: &str, input: File) -> std::io::Result<Child> {
    Command::new(program)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("KLATSCH_EVENT", kind)
        .current_dir("/")
        .stdin(input)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
}

/// Waits for its end, or ends it.
async fn watch(mut child: Child, program: &Path, most: Duration) {
    let begun = Instant::now();
    loop {
        Timer::after(LOOK).await;
        match child.try_wait() {
            Ok(None) if begun.elapsed() < most => continue,
            Ok(Some(status)) if status.success() => {}
            Ok(Some(status)) => log::warn!("{}: {status}", program.display()),
            Ok(None) | Err(_) => {
                log::warn!("{}: ended after {} s", program.display(), most.as_secs());
                if let Ok(group) = i32::try_from(child.id()) {
                    let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
                }
                let _ = child.wait(); // it was killed: that is at once
            }
        }
        return;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Wall, What};

    fn event(text: &str) -> Event {
        Event { at: Wall(0), user: None, what: What::Error { text: text.into() } }
    }

    fn program(folder: &Path, kind: &str, script: &str) {
        let path = folder.join(kind);
        // written by a child of its own: a descriptor open for writing, inherited by another
        // test's fork, would make running it "text file busy"
        let copied = Command::new("install")
            .args(["-m", "755", "/dev/stdin"])
            .arg(&path)
            .stdin(paper_of(&format!("#!/bin/sh\n{script}\n")))
            .status();
        assert!(copied.unwrap().success());
    }

    fn paper_of(text: &str) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.rewind().unwrap();
        file
    }

    fn run(hooks: &Hooks, executor: &LocalExecutor<'static>) {
        crate::reactor::block_on(executor.run(async {
            let begun = Instant::now();
            while hooks.0.running.get() > 0 && begun.elapsed() < Duration::from_secs(20) {
                Timer::after(Duration::from_millis(10)).await;
            }
        }));
        assert_eq!(hooks.0.running.get(), 0);
    }

    fn hooks(folder: &Path, most: Duration) -> (Hooks, Rc<LocalExecutor<'static>>) {
        let executor = Rc::new(LocalExecutor::new());
        let hooks = Hooks::lasting(Rc::clone(&executor), most);
        hooks.follow(folder);
        (hooks, executor)
    }

    #[test]
    fn an_event_is_handed_to_its_program_and_to_no_shell() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let script = format!("{{ cat; env; echo \"$# arguments\"; }} >{}", out.display());
        program(folder.path(), "error", &script);
        std::fs::write(folder.path().join("config"), "no program").unwrap();
        let (hooks, executor) = hooks(folder.path(), MOST);
        assert_eq!(hooks.0.programs.borrow().len(), 1);
        hooks.happened(&event("$(touch /tmp/never); `id`\n\u{1b}"));
        hooks.happened(&Event {
            what: What::Config { key: "a".into(), value: "b".into() },
            ..event("")
        });
        run(&hooks, &executor);
        let seen = std::fs::read_to_string(out).unwrap();
        let json: serde_json::Value = serde_json::from_str(seen.lines().next().unwrap()).unwrap();
        assert_eq!(json["kind"], "error");
        assert_eq!(json["text"], "$(touch /tmp/never); `id`\n\u{1b}");
        assert!(seen.contains("KLATSCH_EVENT=error\n") && seen.ends_with("0 arguments\n"));
        assert!(!seen.contains("HOME="));
    }

    #[test]
    fn a_program_that_does_not_end_is_ended_with_what_it_began() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        program(
            folder.path(),
            "error",
            &format!("(sleep 60; echo late >{}) & wait", out.display()),
        );
        let (hooks, executor) = hooks(folder.path(), Duration::from_millis(200));
        let begun = Instant::now();
        hooks.happened(&event("x"));
        run(&hooks, &executor);
        assert!(begun.elapsed() < Duration::from_secs(10));
        assert!(!out.exists());
    }

    #[test]
    fn one_more_than_may_wait_is_dropped_and_few_run_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        program(folder.path(), "error", &format!("echo x >>{}", out.display()));
        let (hooks, executor) = hooks(folder.path(), MOST);
        for n in 0..MAX_RUNNING + MAX_WAITING + 1 {
            hooks.happened(&event(&n.to_string()));
            assert!(hooks.0.running.get() <= MAX_RUNNING);
        }
        assert!(hooks.0.dropped.get());
        run(&hooks, &executor);
        let runs = std::fs::read_to_string(out).unwrap().lines().count();
        assert_eq!(runs, MAX_RUNNING + MAX_WAITING);
        assert!(!hooks.0.dropped.get());
    }

    #[test]
    fn a_program_that_cannot_be_run_harms_nothing() {
        let folder = tempfile::tempdir().unwrap();
        program(folder.path(), "error", "");
        let (hooks, executor) = hooks(folder.path(), MOST);
        std::fs::remove_file(folder.path().join("error")).unwrap();
        hooks.happened(&event("x"));
        run(&hooks, &executor);
        hooks.follow(&folder.path().join("none"));
        hooks.happened(&event("x"));
        assert!(hooks.0.waiting.borrow().is_empty());
    }
}
