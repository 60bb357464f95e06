//! A python3 script on a host (standard library alone), its lines and its ear.

use std::io::Write;
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};

use serde_json::Value;

use super::lan::Host;
use super::node::{Lines, SOON};

/// See the module. Dropped, it is killed.
pub struct Script {
    child: Child,
    stdin: ChildStdin,
    said: Lines,
    errors: Lines,
}

impl Host {
    /// A peer out of `tests/netns/peers`, which says `{"ready": …}` once it stands.
    pub fn peer(&self, file: &str, args: &[&str]) -> Script {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/netns/peers");
        let path = folder.join(file).to_string_lossy().into_owned();
        let script = self.python(&[&[path.as_str()][..], args].concat());
        script.says("ready", |_| true);
        script
    }

    /// A line of Python, whole: it must end well.
    pub fn python_line(&self, code: &str) {
        let out = self.command("python3").args(["-c", code]).output().unwrap();
        assert!(out.status.success(), "{code}: {}", String::from_utf8_lossy(&out.stderr));
    }

    /// Python that stays.
    pub fn python(&self, args: &[&str]) -> Script {
        let mut run = self.command("python3");
        run.env("PYTHONDONTWRITEBYTECODE", "1").arg("-u").args(args);
        run.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = run.spawn().unwrap();
        Script {
            stdin: child.stdin.take().unwrap(),
            said: Lines::read(child.stdout.take().unwrap()),
            errors: Lines::read(child.stderr.take().unwrap()),
            child,
        }
    }
}

impl Script {
    pub fn tell(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").unwrap();
    }

    /// Waits for a JSON line that has this key.
    #[track_caller]
    pub fn says(&self, key: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let found = self.said.wait(0, SOON, |line| {
            let value: Value = serde_json::from_str(line).ok()?;
            (value.get(key).is_some() && wanted(&value[key])).then(|| value[key].clone())
        });
        found.unwrap_or_else(|| {
            panic!("no such {key}: {:#?} {:#?}", self.said.all(), self.errors.all())
        })
    }

    /// Nothing went wrong in it.
    #[track_caller]
    pub fn is_content(&self) {
        let wrong = |line: &String| line.contains("\"error\"");
        assert!(!self.said.all().iter().any(wrong), "{:#?}", self.said.all());
        assert_eq!(self.errors.all(), Vec::<String>::new());
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- script: {:#?} {:#?}", self.said.all(), self.errors.all());
        }
    }
}
